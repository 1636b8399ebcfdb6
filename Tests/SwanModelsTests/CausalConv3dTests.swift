import GoldenSupport
import SwanSystem
import Testing
import Torch
import TorchNN

@testable import SwanModels

/// Compares the fast kernels with libtorch's operators.
@Suite struct CausalConv3dTests {
    @Test(
        arguments: [
            (1, 4, 6, 8, 16, 16), (2, 5, 7, 9, 20, 3), (1, 1, 5, 5, 16, 24), (2, 2, 4, 3, 24, 8),
            (1, 3, 1, 1, 40, 33), (3, 2, 17, 31, 17, 12),
            (1, 4, 9, 6, 12, 12), (1, 2, 8, 8, 8, 12), (1, 1, 4, 5, 28, 20),
            // Too large for tiles of 4x4.
            (1, 3, 5, 6, 264, 256),
        ]
    )
    func convolution(
        batch: Int,
        frames: Int,
        height: Int,
        width: Int,
        inputs: Int,
        outputs: Int
    ) throws {
        let generator = try Generator(seed: 7)
        let weights = [
            "weight": try Tensor.randn([outputs, inputs, 3, 3, 3], generator),
            "bias": try Tensor.randn([outputs], generator),
        ]
        let x = try Tensor.randn([batch, frames, height, width, inputs], generator)
        let residual = try Tensor.randn([batch, frames, height, width, outputs], generator)
        let conv = try CausalConv3d(Weights(DictionaryWeights(weights)), inputs, outputs)

        func direct(_ x: Tensor) throws -> Tensor {
            let padded = try x.to(.float64).permuted(0, 4, 1, 2, 3).padded([0, 0, 0, 0, 2, 0])
            return try conv3d(
                padded,
                #require(weights["weight"]).to(.float64),
                #require(weights["bias"]).to(.float64),
                padding: [0, 1, 1]
            ).permuted(0, 2, 3, 4, 1)
        }
        // The rounding error of the filtering, relative to the spread of the outputs.
        let error = 4e-6 * Double(27 * inputs).squareRoot()
        var caches = FeatureCaches(streams: true)
        caches.beginPass()
        let first = try conv(x, &caches, adding: residual)
        caches.endPass()
        try expectClose(first, direct(x) + residual, relative: 1e-6, absolute: error)

        // A single first frame has a separate code path.
        var alone = FeatureCaches(streams: true)
        alone.beginPass()
        try expectClose(
            conv(x.narrowed(1, 0, 1), &alone),
            direct(x.narrowed(1, 0, 1)),
            relative: 1e-6,
            absolute: error
        )

        // A second part sees the first through a cache of two frames, even if the parts are shorter.
        let next = try Tensor.randn([batch, 1, height, width, inputs], generator)
        caches.beginPass()
        let second = try conv(next, &caches)
        try expectClose(
            second,
            direct(concatenated([x, next], dim: 1)).narrowed(1, frames, 1),
            relative: 1e-6,
            absolute: error
        )
    }

    @Test(arguments: [3, 8, 20, 96])
    func norm(channels: Int) throws {
        let generator = try Generator(seed: 3)
        let x = try Tensor.randn([2, 3, 5, channels], generator) * 20
        let gamma = try Tensor.randn([channels, 1, 1, 1], generator)
        let norm = try WanVAENorm(Weights(DictionaryWeights(["gamma": gamma])), channels)
        let wide = try x.to(.float64)
        let expected =
            try wide / wide.norm([-1], keepDim: true) * Double(channels).squareRoot()
            * gamma.to(.float64).flattened()
        try expectClose(norm(x), expected, relative: 1e-6, absolute: 1e-6)
        try expectClose(norm.activated(x), expected.silu(), relative: 2e-6, absolute: 1e-6)
        let zero = try norm.activated(x.zerosLike())
        #expect(try zero.abs().max().item() == 0)
    }

    @Test(arguments: [3, 20, 96])
    func halfPrecisionNorm(channels: Int) throws {
        let generator = try Generator(seed: 4)
        let x = try (Tensor.randn([2, 3, 5, channels], generator) * 20).to(.bfloat16)
        let gain = try Tensor.randn([channels], generator).to(.bfloat16)
        let wide = try x.to(.float64)
        let unit = try wide / wide.norm([-1], keepDim: true) * gain.to(.float64)
        let result = try pixelNorm(x, gain: gain, silu: false)
        #expect(result.dtype == .bfloat16)
        try expectClose(result, unit, relative: 0x1p-8, absolute: 1e-6)
        try expectClose(
            pixelNorm(x, gain: gain, silu: true),
            unit.silu(),
            relative: 0x1p-8,
            absolute: 1e-6
        )
        let nothing = try Tensor.full([1, channels], .nan).to(.bfloat16)
        let values: [Float] = try pixelNorm(nothing, gain: gain, silu: false).array()
        #expect(values.allSatisfy { $0.isNaN })
    }

    @Test(arguments: [
        Enlargement(1, 1, 1, 5, 7, 8, 8), Enlargement(1, 2, 2, 16, 16, 48, 24),
        Enlargement(2, 1, 3, 1, 1, 12, 3), Enlargement(1, 2, 1, 9, 30, 33, 20),
        Enlargement(1, 1, 2, 6, 5, 3, 12),
    ])
    func enlarging(sizes: Enlargement) throws {
        try expectEnlarged(
            sizes,
            kernels: sizes.outputs,
            absolute: 5e-5,
            conv: { weight, bias in
                let conv = try EnlargingConv(weight, bias: bias)
                return { try conv($0) }
            },
            reference: { x, weight, bias in
                try conv2d(x.upsampledNearest2x(), weight, bias, padding: [1, 1])
            }
        )
    }

    @Test(arguments: [
        Enlargement(1, 1, 1, 5, 7, 8, 8), Enlargement(2, 2, 2, 6, 5, 32, 16),
        Enlargement(1, 2, 3, 1, 1, 12, 3), Enlargement(1, 1, 2, 4, 4, 3, 5),
    ])
    func subpixels(sizes: Enlargement) throws {
        try expectEnlarged(
            sizes,
            kernels: 4 * sizes.outputs,
            absolute: 4e-6 * Double(9 * sizes.inputs).squareRoot(),
            conv: { weight, bias in
                let conv = try SubpixelConv(weight, bias: bias)
                return { try conv($0) }
            },
            reference: { x, weight, bias in
                try conv2d(x, weight, bias, padding: [1, 1]).pixelShuffled(2)
            }
        )
    }

    /// The sizes of a convolution that doubles height and width.
    struct Enlargement: Sendable {
        let batch, parts, frames, height, width, inputs, outputs: Int

        init(
            _ batch: Int,
            _ parts: Int,
            _ frames: Int,
            _ height: Int,
            _ width: Int,
            _ inputs: Int,
            _ outputs: Int
        ) {
            (self.batch, self.parts, self.frames) = (batch, parts, frames)
            (self.height, self.width) = (height, width)
            (self.inputs, self.outputs) = (inputs, outputs)
        }
    }

    /// Processes frames in several consecutive parts, and compares with a float64 reference over
    /// [N, C, H, W]: with and without gradients, and with only the bias trainable.
    private func expectEnlarged(
        _ sizes: Enlargement,
        kernels: Int,
        absolute: Double,
        conv make: (Tensor, Tensor) throws -> ([Tensor]) throws -> Tensor,
        reference: (Tensor, Tensor, Tensor) throws -> Tensor
    ) throws {
        let generator = try Generator(seed: 5)
        let weight = try Tensor.randn([kernels, sizes.inputs, 3, 3], generator)
        let bias = try Tensor.randn([kernels], generator)
        let shape = [sizes.batch, sizes.frames, sizes.height, sizes.width, sizes.inputs]
        let x = try (0..<sizes.parts).map { _ in try Tensor.randn(shape, generator) }
        let pictures = try stacked(x, dim: 2).flattened(from: 0, to: 2).permuted(0, 3, 1, 2)
        let expected = try reference(
            pictures.to(.float64),
            weight.to(.float64),
            bias.to(.float64)
        )
        let conv = try make(weight, bias)
        let found = try conv(x)
        let (height, width) = (2 * sizes.height, 2 * sizes.width)
        #expect(
            found.shape == [sizes.batch, sizes.frames * sizes.parts, height, width, sizes.outputs]
        )
        try expectClose(
            found.flattened(from: 0, to: 1).permuted(0, 3, 1, 2),
            expected,
            relative: 1e-6,
            absolute: absolute
        )
        // With gradients, another code path gives the same result.
        try x[0].setRequiresGrad()
        try expectClose(conv(x).detached(), found, relative: 1e-6, absolute: absolute)

        try bias.setRequiresGrad()
        let result = try make(weight, bias)(x.map { try $0.detached() })
        let gradient = try #require(gradients(of: result.sum(), for: [bias])[0])
        let pixels = sizes.batch * sizes.parts * sizes.frames * height * width
        let uses = Float(pixels * sizes.outputs / kernels)
        #expect(try gradient.array() == [Float](repeating: uses, count: kernels))
    }

    @Test func refusesUnsupportedKernels() throws {
        let packed = try winogradWeight(.ones([8, 16, 3, 3, 3]))
        let x = try Tensor.zeros([1, 2, 4, 4, 16])
        let bias = try Tensor.zeros([8])
        #expect(throws: SwanError.self) {
            try winogradConvolution(x.narrowed(1, 0, 1), x, packed, bias)
        }
        #expect(throws: SwanError.self) {
            try winogradConvolution(x, x, packed, .zeros([99]))
        }
        #expect(throws: SwanError.self) {
            try winogradConvolution(x.to(.float64), x.to(.float64), packed, bias)
        }
        #expect(throws: SwanError.self) { try winogradWeight(.ones([8, 16, 3, 3])) }
        #expect(throws: SwanError.self) { try enlargingWeight(.ones([8, 16, 3, 3, 3])) }
        #expect(throws: SwanError.self) { try enlargingConvolution([x], packed, bias) }
        #expect(throws: SwanError.self) { try pixelNorm(x, gain: .ones([3]), silu: true) }
    }

    @Test(arguments: [(1, 3, 2), (3, 3, 2), (2, 5, 3), (4, 1, 4)])
    func patchesAndBack(frames: Int, channels: Int, size: Int) throws {
        let (h, w) = (5, 7)
        let bytes = try Tensor.randn(
            [2, frames, h * size, w * size, channels],
            Generator(seed: 3)
        )
        let video = try bytes.permuted(0, 4, 1, 2, 3)
        let expected = try video.reshaped(2, channels, frames, h, size, w, size)
            .permuted(0, 2, 3, 5, 1, 6, 4).reshaped(2, frames, h, w, channels * size * size)
        for video in [video, try video.contiguous()] {
            let found = try patches(video, size: size)
            try expectClose(found, expected, relative: 0, absolute: 0)
            try expectClose(
                pixels(ofPatches: found, size: size),
                bytes,
                relative: 0,
                absolute: 0
            )
        }
    }
}
