import GoldenSupport
import Testing
import Torch
import SwanSystem

/// Custom operators registered with the dispatcher: each has a composite made of the engine's operators,
/// agrees with it on the CPU, and supports gradients.
@Suite struct OwnOperatorTests {
    private let generator: Generator

    init() throws { generator = try Generator(seed: 17) }

    private func normal(_ shape: [Int], _ dtype: DType = .float32) throws -> Tensor {
        try Tensor.randn(shape, generator).to(dtype)
    }

    /// A device implementation of an operator, and its composite.
    private struct Pair {
        let registered, composite: Operator

        init(_ name: String) {
            registered = Operator("swan::" + name)
            composite = Operator("swan::" + name, "composite")
        }
    }

    private let none: Tensor? = nil

    @Test(arguments: [
        "causal_conv3d_weight", "causal_conv3d", "enlarging_conv_weight", "enlarging_conv",
        "subpixel_conv_weight", "subpixel_conv", "pixel_norm", "to_patches", "from_patches",
        "product_operand", "widen", "linear_weight", "linear", "stored_linear", "attention",
    ])
    func isRegistered(name: String) {
        // A registered operator rejects a call without arguments; otherwise the error says that it is unknown.
        for operation in [Pair(name).registered, Pair(name).composite] {
            let error = #expect(throws: SwanError.self) { try operation.run() }
            #expect(error?.code == .invalidArgument)
        }
    }

    /// The kernels that the operators choose from, depending on the processor.
    @Test(arguments: [
        "winograd_weight", "winograd", "enlarging_weight", "enlarging_convolution",
        "tiled_linear_weight", "tiled_linear", "tiled_attention", "attention_by_matrices",
        "tiled_convolution_weight", "tiled_convolution", "widen_float8",
    ])
    func kernelIsRegistered(name: String) {
        let error = #expect(throws: SwanError.self) { try Operator("swan::" + name).run() }
        #expect(error?.code == .invalidArgument)
    }

    // MARK: - Convolutions

    /// float32 uses Winograd filtering; bfloat16 uses tiles where available.
    @Test(arguments: [(DType.float32, 16), (.float32, 4), (.bfloat16, 32), (.float64, 16)])
    func causalConvolution(dtype: DType, inputs: Int) throws {
        let prepare = Pair("causal_conv3d_weight")
        let convolve = Pair("causal_conv3d")
        let weight = try normal([12, inputs, 3, 3, 3], dtype)
        let bias = try normal([12], dtype)
        let x = try normal([2, 3, 5, 6, inputs], dtype)
        let front = try normal([2, 2, 5, 6, inputs], dtype)
        let residual = try normal([2, 3, 5, 6, 12], dtype)
        let prepared = try prepare.registered(weight)
        let stacked = try prepare.composite(weight)
        #expect(stacked.shape == [12, 3 * inputs, 3, 3])
        let isForKernel = dtype == .float32 ? inputs >= 8 : dtype == .bfloat16 && Engine.hasTiles
        #expect((prepared.rank != 4) == isForKernel)
        let error = 4e-6 * Double(27 * inputs).squareRoot()
        for front in [nil, front] {
            // The composite accepts both forms.
            for form in [prepared, stacked] {
                try expectClose(
                    convolve.registered(x, weight, prepared, bias, front, residual),
                    convolve.composite(x, weight, form, bias, front, residual),
                    relative: dtype == .bfloat16 ? 0x1p-6 : 1e-6,
                    absolute: dtype == .bfloat16 ? 0.1 : error
                )
            }
        }
    }

    /// Frames passed together with the preceding ones, with strides 1 and 2.
    @Test(arguments: [1, 2]) func joinedFrames(stride: Int) throws {
        let weight = try normal([6, 8, 3, 1, 1])
        let bias = try normal([6])
        let x = try normal([1, 7, 4, 5, 8])
        let kernel = try PreparedKernel.causal(weight, stride: stride)
        let found = try causalConv3d(joined: x, kernel, bias, stride: stride)
        let expected = try conv3d(
            x.permuted(0, 4, 1, 2, 3).to(.float64),
            weight.to(.float64),
            bias.to(.float64),
            stride: [stride, 1, 1]
        ).permuted(0, 2, 3, 4, 1)
        try expectClose(found, expected, relative: 1e-6, absolute: 2e-5)
    }

    @Test(arguments: ["enlarging", "subpixel"], [4, 16])
    func upsamplingConvolution(name: String, inputs: Int) throws {
        let convolve = Pair(name + "_conv")
        let prepare = Pair(name + "_conv_weight")
        let weight = try normal([12, inputs, 3, 3])
        let bias = try normal([12])
        let parts = [try normal([2, 2, 4, 5, inputs]), try normal([2, 2, 4, 5, inputs])]
        let prepared = try prepare.registered(weight, bias)
        #expect((prepared.rank == 2) == (inputs == 16))
        try expectClose(
            convolve.registered(parts, weight, prepared, bias),
            convolve.composite(parts, weight, prepare.composite(weight, bias), bias),
            relative: 1e-6,
            absolute: 5e-5
        )
        try expectClose(
            convolve.composite(parts, weight, prepared, bias),
            convolve.composite(parts, weight, prepare.composite(weight, bias), bias),
            relative: 0,
            absolute: 0
        )
    }

    // MARK: - Pixels

    @Test(arguments: [DType.float32, .bfloat16, .float64], [false, true])
    func norm(dtype: DType, silu: Bool) throws {
        let norm = Pair("pixel_norm")
        let (x, gain) = (try normal([2, 3, 20], dtype), try normal([20], dtype))
        try expectClose(
            norm.registered(x, gain, silu),
            norm.composite(x, gain, silu),
            relative: dtype == .bfloat16 ? 0x1p-6 : 2e-6,
            absolute: dtype == .bfloat16 ? 0x1p-8 : 1e-6
        )
    }

    @Test(arguments: [DType.float32, .float64]) func patchesAndBack(dtype: DType) throws {
        let (to, from) = (Pair("to_patches"), Pair("from_patches"))
        let video = try normal([2, 3, 2, 4, 6], dtype)
        let found = try to.registered(video, 2)
        try expectClose(found, to.composite(video, 2), relative: 0, absolute: 0)
        let back = try from.registered(found, 2)
        try expectClose(back, from.composite(found, 2), relative: 0, absolute: 0)
        try expectClose(back.permuted(0, 4, 1, 2, 3), video, relative: 0, absolute: 0)
    }

    // MARK: - Products

    @Test(arguments: [DType.float32, .bfloat16], [false, true])
    func linearLayer(dtype: DType, gelu: Bool) throws {
        let (prepare, linear) = (Pair("linear_weight"), Pair("linear"))
        let weight = try normal([64, 96], dtype)
        let (x, bias) = (try normal([3, 5, 96], dtype), try normal([64], dtype))
        let prepared = try prepare.registered(weight)
        #expect((prepared.rank == 6) == (dtype == .bfloat16 && Engine.hasTiles))
        for form in [prepared, weight] {
            try expectClose(
                linear.registered(x, prepared, bias, gelu),
                linear.composite(x, form, bias, gelu),
                relative: dtype == .bfloat16 ? 0x1p-6 : 1e-6,
                absolute: dtype == .bfloat16 ? 0x1p-4 : 1e-5
            )
        }
        // A tiled weight also works with inputs of another dtype.
        try expectClose(
            linear.registered(x.to(.float32), prepared, none, gelu),
            linear.composite(x.to(.float32), weight, none, gelu),
            relative: 1e-6,
            absolute: 1e-5
        )
    }

    /// Few rows, and enough rows for the matrix to be repacked.
    @Test(arguments: [5, 4_096], [DType.bfloat16, .float8e4m3])
    func storedWeights(rows: Int, stored: DType) throws {
        let linear = Pair("stored_linear")
        let values = try (normal([32, 64]) * 0.2).to(stored)
        let (x, bias) = (try normal([rows, 64], .bfloat16), try normal([32], .bfloat16))
        let factors = [nil, try Tensor.full([], 0.5), try Tensor.rand([32, 1], generator)]
        for factor in factors {
            try expectClose(
                linear.registered(x, values, factor, bias, true),
                linear.composite(x, values, factor, bias, true),
                relative: 0x1p-6,
                absolute: 0x1p-5
            )
        }
    }

    @Test(arguments: [DType.float8e4m3, .float8e5m2, .bfloat16])
    func widening(stored: DType) throws {
        let widen = Pair("widen")
        let x = try normal([7, 9]).to(stored)
        for factor in [nil, try Tensor.full([], 0.5)] {
            for dtype in [DType.float32, .bfloat16, .float64] {
                let found = try widen.registered(x, dtype, factor)
                #expect(found.dtype == dtype)
                try expectClose(found, widen.composite(x, dtype, factor), relative: 0, absolute: 0)
            }
        }
    }

    /// Few and many scores, to cover the engine, tiles and matrix products.
    @Test(arguments: [DType.float32, .bfloat16], [(9, 11), (200, 300), (600, 700)])
    func attention(dtype: DType, lengths: (Int, Int)) throws {
        let attention = Pair("attention")
        let q = try normal([1, 2, lengths.0, 32], dtype)
        let k = try normal([1, 2, lengths.1, 32], dtype)
        let v = try normal([1, 2, lengths.1, 32], dtype)
        let bias = try normal([1, 2, lengths.0, lengths.1], dtype)
        for mask in [nil, bias] {
            try expectClose(
                attention.registered(q, k, v, mask, 0.2),
                attention.composite(q, k, v, mask, 0.2),
                relative: dtype == .bfloat16 ? 0x1p-6 : 1e-6,
                absolute: dtype == .bfloat16 ? 0x1p-6 : 1e-6
            )
        }
    }

    // MARK: - Gradients

    /// Compares gradients of the sum of squares with finite differences for some of the inputs, which must be
    /// float64 for accuracy.
    private func expectGradients(
        _ inputs: [Tensor],
        sourceLocation: SourceLocation = #_sourceLocation,
        _ operation: ([Tensor]) throws -> Tensor
    ) throws {
        let leaves = try inputs.map { try $0.cloned() }
        for leaf in leaves { try leaf.setRequiresGrad() }
        let found = try gradients(of: operation(leaves).pow(2).sum(), for: leaves)
        let step = 1e-5
        for (index, input) in inputs.enumerated() {
            let direction = try normal(input.shape, .float64)
            func loss(_ scale: Double) throws -> Double {
                var moved = inputs
                moved[index] = try input + direction * scale
                return try operation(moved).pow(2).sum().item()
            }
            let slope = try (loss(step) - loss(-step)) / (2 * step)
            let gradient = try #require(found[index], sourceLocation: sourceLocation)
            let expected = try (gradient * direction).sum().item()
            #expect(
                abs(slope - expected) < 1e-6 * max(1, abs(expected)),
                "input \(index): \(slope), the gradient says \(expected)",
                sourceLocation: sourceLocation
            )
        }
    }

    @Test func gradientsOfConvolutions() throws {
        let x = try normal([1, 2, 4, 5, 8], .float64)
        let bias = try normal([4], .float64)
        let cube = try normal([4, 8, 3, 3, 3], .float64)
        let front = try normal([1, 2, 4, 5, 8], .float64)
        let residual = try normal([1, 2, 4, 5, 4], .float64)
        try expectGradients([x, cube, bias, front, residual]) {
            let kernel = try PreparedKernel.causal($0[1])
            return try causalConv3d($0[0], kernel, $0[2], after: $0[3], residual: $0[4])
        }
        let square = try normal([4, 8, 3, 3], .float64)
        try expectGradients([x, x * 2, square, bias]) {
            let kernel = try PreparedKernel.enlarging($0[2], bias: $0[3])
            return try enlargingConv([$0[0], $0[1]], kernel, $0[3])
        }
        try expectGradients([x, x * 2, square, bias]) {
            let kernel = try PreparedKernel.subpixel($0[2], bias: $0[3])
            return try subpixelConv([$0[0], $0[1]], kernel, $0[3])
        }
    }

    @Test func gradientsOfPixels() throws {
        let x = try normal([1, 2, 2, 4, 8], .float64)
        try expectGradients([x, normal([8], .float64)]) {
            try pixelNorm($0[0], gain: $0[1], silu: true)
        }
        try expectGradients([x]) { try patches($0[0], size: 2) }
        try expectGradients([x]) { try pixels(ofPatches: $0[0], size: 2) }
    }

    @Test func gradientsOfProducts() throws {
        let (x, weight) = (try normal([5, 8], .float64), try normal([4, 8], .float64))
        let bias = try normal([4], .float64)
        try expectGradients([x, weight, bias]) {
            let operand = try $0[0].asProductOperand()
            return try preparedLinear(operand, $0[1].preparedForLinear(), $0[2], gelu: true)
        }
        try expectGradients([x, weight, bias]) {
            try storedLinear($0[0], $0[1], factor: nil, $0[2])
        }
        let q = try normal([1, 2, 5, 4], .float64)
        let k = try normal([1, 2, 7, 4], .float64)
        let v = try normal([1, 2, 7, 4], .float64)
        try expectGradients([q, k, v]) { try attentionByHead($0[0], $0[1], $0[2], scale: 0.4) }
    }

    /// Inputs and weights of kernels without gradients get them from the composite.
    @Test func gradientsOfKernelInputs() throws {
        let x = try normal([1, 2, 4, 5, 16])
        let (cube, bias) = (try normal([8, 16, 3, 3, 3]), try normal([8]))
        let kernel = try PreparedKernel.causal(cube)
        let plain = try causalConv3d(x, kernel, bias, after: nil)
        let leaf = try x.cloned()
        try leaf.setRequiresGrad()
        let recorded = try causalConv3d(leaf, kernel, bias, after: nil)
        #expect(recorded.requiresGrad && !plain.requiresGrad)
        try expectClose(recorded.detached(), plain, relative: 1e-6, absolute: 1e-4)
        #expect(try #require(gradients(of: recorded.sum(), for: [leaf])[0]).abs().max().item() > 0)
        // Inference records nothing, even if the weights require gradients.
        let weight = try cube.cloned()
        try weight.setRequiresGrad()
        let inferred = try inference {
            try causalConv3d(x, .causal(weight), bias, after: nil)
        }
        #expect(!inferred.requiresGrad)
        try expectClose(inferred, plain, relative: 1e-6, absolute: 1e-4)
    }
}
