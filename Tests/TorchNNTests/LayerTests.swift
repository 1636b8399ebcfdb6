import Foundation
import GoldenSupport
import SwanSystem
import Testing
import Torch

@testable import TorchNN

struct LayerTests {
    private let generator: Generator

    init() throws { generator = try Generator(seed: 12) }

    @Test func linear() throws {
        let weights = Weights(
            MadeWeights { key, shape throws(SwanError) in
                try Tensor.full(shape, key.hasSuffix("bias") ? 1 : 2)
            }
        )
        let x = try Tensor([1, 2, 3] as [Float], [1, 3])
        #expect(try Linear(weights["a"], 3, 2)(x).array() == [13, 13] as [Float])
        #expect(try Linear(weights["b"], 3, 2, bias: false)(x).array() == [12, 12] as [Float])
    }

    /// NaN in queries, keys or values reaches the result, for any number of keys.
    @Test(arguments: [DType.float32, .bfloat16, .float16]) func propagatesNaN(
        dtype: DType
    ) throws {
        for keys in [1, 4, 9, 15, 16, 17, 40, 200, 600] {
            for index in 0..<3 {
                let lengths = [130, keys, keys]
                var parts = try lengths.map { length throws(SwanError) in
                    try Tensor.randn([1, length, 2, 32], generator).to(dtype)
                }
                #expect(try attention(parts[0], parts[1], parts[2]).isAllFinite())
                parts[index] = try parts[index] * Double.nan
                let result = try attention(parts[0], parts[1], parts[2])
                #expect(try !result.isAllFinite(), "\(keys) keys, part \(index)")
            }
        }
        let x = try Tensor.randn([300, 64], generator).to(dtype)
        let weights = Weights(
            MadeWeights { key, shape throws(SwanError) in
                try Tensor.randn(shape, generator) * (key == "broken.weight" ? Double.nan : 1)
            },
            dtype: dtype
        )
        #expect(try !Linear(weights["broken"], 64, 96)(x).isAllFinite())
        #expect(try !Linear(weights["broken"], 64, 96).gelu(x).isAllFinite())
        #expect(try Linear(weights["sound"], 64, 96).gelu(x).isAllFinite())
    }

    @Test(arguments: Device.tested) func fusedLayersEqualSeparateOnes(device: Device) throws {
        let weights = Weights(try MadeWeights.random(seed: 1), device: device)
        let x = try Tensor.randn([2, 5, 8], generator).to(device)
        for bias in [true, false] {
            let parts = ["q", "k", "v"].map { weights["\(bias)"][$0] }
            let fused = try Linear(fusing: parts, 8, 6, bias: bias)(x)
            let separate = try parts.map { try Linear($0, 8, 6, bias: bias)(x) }
            try expectClose(fused, concatenated(separate, dim: -1), relative: 1e-5)
        }
        try weights.finish()
    }

    /// Partial sums are not rounded to the dtype, whichever instructions the processor supports.
    @Test(arguments: [(DType.bfloat16, 0x1p-8), (.float16, 0x1p-11)])
    func roundsHalfPrecisionOnce(dtype: DType, unit: Double) throws {
        let made = try MadeWeights.random(seed: 3)
        let x = try Tensor.randn([40, 1_000], generator).to(dtype)
        let parts = [Weights(made, dtype: dtype)["a"], Weights(made, dtype: dtype)["b"]]
        let result = try Linear(fusing: parts, 1_000, 30)(x)
        #expect(result.dtype == dtype)
        let exact = try ["a.weight", "b.weight"].map { key in
            let weight = try #require(made.tensors[key]).to(dtype).to(.float64)
            return try matmul(x.to(.float64), weight.transposed(0, 1))
        }
        try expectClose(
            result.to(.float64),
            concatenated(exact, dim: -1),
            relative: unit,
            absolute: 1e-4
        )
    }

    /// Covers weights packed once, and weights that stay in their file and are packed only for many rows.
    @Test(arguments: [false, true], [7, 4_100])
    func tiledHalfPrecisionLayers(keepsStorage: Bool, rows: Int) throws {
        let made = try MadeWeights.random(seed: 5)
        let weights = Weights(made, dtype: .bfloat16, keepsStorage: keepsStorage)
        let layer = try Linear(fusing: [weights["a"], weights["b"]], 96, 64)
        let x = try Tensor.randn([rows, 96], generator).to(.bfloat16)
        let exact = try ["a.weight", "b.weight"].map { key in
            let weight = try #require(made.tensors[key]).to(.bfloat16).to(.float64)
            return try matmul(x.to(.float64), weight.transposed(0, 1))
        }
        let expected = try concatenated(exact, dim: -1)
        try expectClose(layer(x), expected, relative: 0x1p-8, absolute: 1e-4)
        try expectClose(
            layer.gelu(x),
            expected.gelu(tanh: true),
            relative: 0x1p-7,
            absolute: 0x1p-9
        )
        // The same layer with inputs of another dtype.
        let wide = try layer(x.to(.float32))
        #expect(wide.dtype == .float32)
        try expectClose(wide, expected, relative: 1e-5, absolute: 1e-4)
    }

    @Test func halfPrecisionUsesAvailableInstructions() {
        #expect(DType.float32.productType(on: .cpu) == .float32)
        #expect(DType.bfloat16.productType(on: .cuda(0)) == .bfloat16)
        let types = [DType.bfloat16, .float16].map { $0.productType(on: .cpu) }
        #expect(types[0] == (Engine.multiplies(.bfloat16) ? .bfloat16 : .float32))
        #expect(types[1] == (Engine.multiplies(.float16) ? .float16 : .float32))
    }

    @Test func patchConvolutionEqualsMatrixProduct() throws {
        let made = try MadeWeights.random(seed: 2)
        let layer = try Linear(convolution: Weights(made)["patch"], [3, 1, 2, 2], 7)
        let x = try Tensor.randn([1, 3, 1, 2, 2], generator)
        let kernel = try #require(made.tensors["patch.weight"])
        #expect(kernel.shape == [7, 3, 1, 2, 2])
        try expectClose(
            layer(x.flattened(from: 1)),
            conv3d(x, kernel, stride: [1, 2, 2]).flattened(from: 1),
            relative: 1e-5
        )
    }

    @Test func normsApplyTheirWeights() throws {
        let tensors = [
            "n.weight": try Tensor.randn([8], generator), "n.bias": try .randn([8], generator),
        ]
        let weights = Weights(DictionaryWeights(tensors))
        let x = try Tensor.randn([3, 8], generator)
        let plain = try LayerNorm(eps: 1e-6)(x)
        try expectClose(plain.mean([1]), .zeros([3]), absolute: 1e-5)
        try expectClose(plain.variance([1]), .ones([3]), relative: 1e-4)
        let (weight, bias) = (try #require(tensors["n.weight"]), try #require(tensors["n.bias"]))
        try expectClose(
            LayerNorm(weights["n"], 8, eps: 1e-6)(x),
            plain * weight + bias,
            absolute: 1e-5
        )
        let root = try ((x * x).mean([1], keepDim: true) + 1e-6).squareRoot()
        try expectClose(RMSNorm(weights["n"], 8, eps: 1e-6)(x), x / root * weight, absolute: 1e-5)
        try weights.finish()
    }

    @Test func embeddingsSelectRows() throws {
        let table = try Tensor((0..<6).map(Float.init), [3, 2])
        let layer = try Embedding(Weights(DictionaryWeights(["e.weight": table]))["e"], 3, 2)
        let rows = try layer(Tensor([2, 0] as [Int], [1, 2]))
        #expect(rows.shape == [1, 2, 2])
        #expect(try rows.array() == [4, 5, 0, 1] as [Float])
        #expect(layer.device == .cpu)
    }

    @Test func sinusoids() throws {
        let positions: [Double] = [0, 0.5, 999]
        let result: [Double] = try sinusoidalEmbedding(Tensor(positions, [3]), dim: 8).array()
        for (row, position) in positions.enumerated() {
            for index in 0..<4 {
                let angle = position * pow(10_000, -Double(index) / 4)
                #expect(abs(result[row * 8 + index] - cos(angle)) < 1e-9)
                #expect(abs(result[row * 8 + 4 + index] - sin(angle)) < 1e-9)
            }
        }
    }

    /// Uses more scores than fit in one tile; bfloat16 rounds them to 3 digits.
    @Test(arguments: [(DType.float32, 1e-5), (.bfloat16, 0.02)])
    func matrixAttentionMatches(dtype: DType, tolerance: Double) throws {
        let q = try Tensor.randn([2, 90, 3, 16], generator).transposed(1, 2)  // [B, N, L, D]
        let k = try Tensor.randn([2, 3, 40_000, 16], generator)
        let v = try Tensor.randn([2, 3, 40_000, 16], generator)
        let expected = try scaledDotProductAttention(q, k, v, scale: 0.3)
        let result = try attentionByMatrices(q.to(dtype), k.to(dtype), v.to(dtype), scale: 0.3)
        #expect(result.dtype == dtype)
        let error = try (result.to(.float32) - expected).norm().item()
        #expect(try error < tolerance * expected.norm().item())
    }

    /// Covers few and many scores, with and without a mask.
    @Test(arguments: [DType.bfloat16, .float16], [5, 600])
    func halfPrecisionAttention(dtype: DType, length: Int) throws {
        for device in Device.tested { try expectAttention(of: dtype, length, device) }
    }

    private func expectAttention(of dtype: DType, _ length: Int, _ device: Device) throws {
        let q = try Tensor.randn([2, length, 3, 8], generator).to(device)  // [B, L, N, D]
        let k = try Tensor.randn([2, length + 1, 3, 8], generator).to(device)
        let v = try Tensor.randn([2, length + 1, 3, 8], generator).to(device)
        let bias = try Tensor.randn([1, 3, length, length + 1], generator).to(device)
        for mask in try [nil, bias, bias .> 0] {
            let expected = try attention(q, k, v, mask: mask, scale: 0.3)
            let result = try attention(
                q.to(dtype),
                k.to(dtype),
                v.to(dtype),
                mask: mask.map { try $0.dtype == .bool ? $0 : $0.to(dtype) },
                scale: 0.3
            )
            #expect(result.dtype == dtype)
            #expect(result.shape == expected.shape)
            let error = try (result.to(.float32) - expected).norm().item()
            #expect(try error < 0.01 * expected.norm().item())
        }
    }

    /// Keys and values shared by all rows and heads, without being copied.
    @Test func attentionWithSharedKeys() throws {
        let generator = try Generator(seed: 31)
        let shape = [2, 3, 200, 32]
        let q = try Tensor.randn([2, 3, 160, 32], generator).to(.bfloat16)
        let k = try Tensor.randn([1, 1, 200, 32], generator).to(.bfloat16).expanded(shape)
        let v = try Tensor.randn([1, 1, 200, 32], generator).to(.bfloat16).expanded(shape)
        let expected = try scaledDotProductAttention(
            q.to(.float32),
            k.to(.float32),
            v.to(.float32)
        )
        let result = try attentionByHead(q, k, v)
        try expectClose(result, expected, relative: 0x1p-6, absolute: 0x1p-7)
    }

    @Test(arguments: Device.tested) func attentionKeepsHeadsSeparate(device: Device) throws {
        let q = try Tensor.randn([2, 5, 3, 8], generator).to(device)  // [B, L, N, D]
        let k = try Tensor.randn([2, 7, 3, 8], generator).to(device)
        let v = try Tensor.randn([2, 7, 3, 8], generator).to(device)
        let mask = try Tensor.rand([1, 1, 5, 7], generator).to(device) .> 0.3
        let result = try attention(q, k, v, mask: mask, scale: 0.25)
        #expect(result.shape == [2, 5, 3, 8])
        let hidden = try (mask.squeezed(0).squeezed(0).to(.float32) - 1) * 1e9
        for (row, head) in [(0, 0), (1, 2)] {
            func part(_ x: Tensor) throws -> Tensor { try x.selected(0, row).selected(1, head) }
            let scores = try matmul(part(q), part(k).transposed(0, 1)) * 0.25 + hidden
            try expectClose(
                part(result),
                matmul(scores.softmax(), part(v)),
                relative: 1e-4,
                absolute: 1e-5
            )
        }
    }
}
