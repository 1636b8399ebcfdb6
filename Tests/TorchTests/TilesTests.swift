import GoldenSupport
import SwanSystem
import Testing
import Torch

/// Compares the kernels for the processor's matrix tiles with libtorch's operators in float32.
@Suite(.enabled(if: Engine.hasTiles)) struct TilesTests {
    private let generator: Generator

    init() throws { generator = try Generator(seed: 21) }

    private func normal(_ shape: [Int]) throws -> Tensor {
        try Tensor.randn(shape, generator).to(.bfloat16)
    }

    /// Row counts that are not multiples of 32, and inputs summed in one part and in several.
    @Test(arguments: [(1, 64, 32), (5, 32, 96), (300, 2_080, 544), (33, 4_128, 64)])
    func linearLayer(rows: Int, inputs: Int, outputs: Int) throws {
        let x = try normal([rows, inputs])
        let weight = try normal([outputs, inputs])
        let bias = try normal([outputs])
        let tiles = try tiledLinearWeight(weight)
        let plain = try tiles.permuted(0, 2, 4, 1, 3, 5).reshaped(outputs, inputs)
        try expectClose(plain, weight, relative: 0, absolute: 0)
        let exact = try matmul(x.to(.float64), weight.to(.float64).transposed(0, 1))
        let spread = Double(inputs).squareRoot()
        try expectClose(
            tiledLinear(x, tiles, nil),
            exact,
            relative: 0x1p-8,
            absolute: 1e-5 * spread
        )
        try expectClose(
            tiledLinear(x, tiles, bias, gelu: true),
            (exact + bias.to(.float64)).gelu(tanh: true),
            relative: 0x1p-8 + 1e-3,
            absolute: 1e-4 * spread
        )
    }

    /// Partial blocks of keys and queries, and heads of any layout.
    @Test(arguments: [
        (1, 2, 300, 700, 128), (2, 3, 31, 513, 64), (1, 1, 129, 17, 384), (1, 1, 5, 1, 32),
    ])
    func attention(batch: Int, heads: Int, queries: Int, keys: Int, depth: Int) throws {
        let q = try normal([batch, queries, heads, depth]).transposed(1, 2)
        let k = try normal([batch, heads, keys, depth])
        let v = try normal([batch, keys, heads, depth]).transposed(1, 2)
        let result = try tiledAttention(q, k, v, scale: 0.2)
        let expected = try scaledDotProductAttention(
            q.to(.float64),
            k.to(.float64),
            v.to(.float64),
            scale: 0.2
        )
        // Weights up to 1 are rounded to bfloat16 before they multiply values up to 4.
        try expectClose(result, expected, relative: 0x1p-7, absolute: 0x1p-7)
        let error = try (result.to(.float64) - expected).norm().item()
        #expect(try error < 0.004 * expected.norm().item())
    }

    @Test func extremeScores() throws {
        let q = try normal([1, 1, 40, 32]) * 300
        let k = try normal([1, 1, 600, 32]) * 300
        let v = try normal([1, 1, 600, 32])
        // Such scores give one key all the weight.
        let scores = try matmul(q.to(.float64), k.to(.float64).transposed(2, 3))
        let expected = try matmul(scores.softmax(), v.to(.float64))
        try expectClose(
            tiledAttention(q, k, v, scale: 1),
            expected,
            relative: 0x1p-7,
            absolute: 1e-3
        )
        let nothing = try Tensor.full([1, 1, 600, 32], .nan).to(.bfloat16)
        let result: [Float] = try tiledAttention(q, nothing, v, scale: 1).array()
        #expect(result.allSatisfy { $0.isNaN })
    }

    @Test(arguments: [
        (1, 1, 5, 7, 32, 32), (2, 4, 9, 11, 40, 70), (1, 2, 16, 33, 96, 3), (2, 3, 1, 1, 16, 64),
    ])
    func causalConvolution(
        batch: Int,
        frames: Int,
        height: Int,
        width: Int,
        inputs: Int,
        outputs: Int
    ) throws {
        let weight = try normal([outputs, inputs, 3, 3, 3])
        let bias = try normal([outputs])
        let x = try normal([batch, frames, height, width, inputs])
        let front = try normal([batch, 2, height, width, inputs])
        let residual = try normal([batch, frames, height, width, outputs])
        let tiles = try tiledConvolutionWeight(weight)
        func direct(after front: Tensor) throws -> Tensor {
            let all = try concatenated([front, x], dim: 1).permuted(0, 4, 1, 2, 3).to(.float64)
            return try conv3d(all, weight.to(.float64), bias.to(.float64), padding: [0, 1, 1])
                .permuted(0, 2, 3, 4, 1)
        }
        let error = 1e-5 * Double(27 * inputs).squareRoot()
        try expectClose(
            tiledConvolution(nil, x, tiles, bias),
            direct(after: front.zerosLike()),
            relative: 0x1p-8,
            absolute: error
        )
        try expectClose(
            tiledConvolution(front, x, tiles, bias, residual: residual),
            direct(after: front) + residual.to(.float64),
            relative: 0x1p-8,
            absolute: error
        )
    }

    /// A masked key has no weight.
    @Test func scoresOfMinusInfinity() throws {
        let q = try Tensor.ones([1, 1, 128, 32]).to(.bfloat16)
        let v = try normal([1, 1, 200, 32])
        let keys = try Tensor.ones([1, 1, 200, 32])
        var lost = try keys.narrowed(2, 7, 1).narrowed(3, 0, 1)
        try lost.copy(from: .full([1, 1, 1, 1], -.infinity))
        let scores = try matmul(q.to(.float32), keys.transposed(2, 3)) * 0.1
        let expected = try matmul(scores.softmax(), v.to(.float32))
        let result = try tiledAttention(q, keys.to(.bfloat16), v, scale: 0.1)
        try expectClose(result, expected, relative: 0x1p-7, absolute: 2e-3)
    }

    @Test func refusesUnsupportedSizes() throws {
        let wide = try Tensor.ones([32, 64])
        let weight = try tiledLinearWeight(wide.to(.bfloat16))
        #expect(throws: SwanError.self) { try tiledLinearWeight(wide) }
        #expect(throws: SwanError.self) { try tiledLinearWeight(normal([33, 64])) }
        #expect(throws: SwanError.self) { try tiledLinear(normal([4, 32]), weight, nil) }
        #expect(throws: SwanError.self) { try tiledLinear(normal([4, 64]), weight, normal([5])) }
        #expect(throws: SwanError.self) {
            try tiledLinear(normal([4, 64]), .ones([1, 2, 1, 1, 1, 1]).to(.bfloat16), nil)
        }
        #expect(throws: SwanError.self) {
            try tiledLinear(normal([4, 64]), weight.transposed(3, 4), nil)
        }
        #expect(throws: SwanError.self) { try tiledLinearWeight(.zeros([32, 0]).to(.bfloat16)) }
        #expect(throws: SwanError.self) {
            try tiledLinear(.zeros([4, 0]).to(.bfloat16), weight, nil)
        }
        #expect(try tiledLinear(.zeros([0, 64]).to(.bfloat16), weight, nil).shape == [0, 32])
        let q = try normal([1, 1, 4, 32])
        #expect(throws: SwanError.self) {
            try tiledAttention(q, q, normal([1, 1, 5, 32]), scale: 1)
        }
        let none = try Tensor.zeros([1, 0, 4, 32]).to(.bfloat16)
        #expect(throws: SwanError.self) { try tiledAttention(none, none, none, scale: 1) }
        #expect(throws: SwanError.self) { try tiledAttention(q, q, q, scale: -1) }
        let narrow = try normal([1, 1, 4, 16])
        #expect(throws: SwanError.self) { try tiledAttention(narrow, narrow, narrow, scale: 1) }
        let kernel = try tiledConvolutionWeight(normal([8, 32, 3, 3, 3]))
        let x = try normal([1, 2, 4, 4, 32])
        let bias = try normal([8])
        #expect(throws: SwanError.self) {
            try tiledConvolution(x.narrowed(1, 0, 1), x, kernel, bias)
        }
        #expect(throws: SwanError.self) { try tiledConvolution(nil, x, kernel, normal([99])) }
        #expect(throws: SwanError.self) { try tiledConvolution(nil, wide, kernel, bias) }
        #expect(throws: SwanError.self) { try tiledConvolutionWeight(normal([8, 32, 3, 3])) }
    }
}
