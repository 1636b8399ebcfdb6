import Foundation
import GoldenSupport
import Testing
import Torch
import TorchNN

/// Compares RoPE with the rotation computed directly in double precision.
struct RoPETests {
    /// The angle of pair `pair` of a head of size `dim` at a token's frame, row and column.
    private func angle(_ pair: Int, _ dim: Int, _ position: [Int]) -> Double {
        let spatial = dim / 6
        let temporal = dim / 2 - 2 * spatial
        let (axis, index, count) =
            pair < temporal
            ? (0, pair, temporal)
            : pair < temporal + spatial
                ? (1, pair - temporal, spatial) : (2, pair - temporal - spatial, spatial)
        return Double(position[axis]) * pow(10_000, -Double(index) / Double(count))
    }

    @Test(arguments: [[0, 7], [100_000, 3], [1_000_000_007, 0]], [12, 64, 128])
    func rotatesEveryPairByItsAngle(_ firstFrames: [Int], _ headDim: Int) throws {
        let (frames, height, width, heads) = (2, 3, 2, 2)
        let tokens = frames * height * width
        let x = try Tensor.randn([2, tokens, heads, headDim], Generator(seed: 1))
        let input: [Double] = try x.array()
        var expected: [Double] = []
        for index in 0..<(2 * tokens * heads) {
            let (row, token) = (index / heads / tokens, index / heads % tokens)
            let position = [
                firstFrames[row] + token / (height * width), token / width % height, token % width,
            ]
            for pair in 0..<(headDim / 2) {
                let turn = angle(pair, headDim, position)
                let (a, b) = (
                    input[index * headDim + 2 * pair], input[index * headDim + 2 * pair + 1]
                )
                expected.append(a * cos(turn) - b * sin(turn))
                expected.append(a * sin(turn) + b * cos(turn))
            }
        }
        for device in Device.tested {
            let rope = try RoPE(
                firstFrames: firstFrames,
                frames: frames,
                height: height,
                width: width,
                headDim: headDim,
                device: device
            )
            let turned = try rope(x.to(device))
            try expectClose(turned, Tensor(expected, x.shape), relative: 1e-5, absolute: 2e-6)
        }
    }

    @Test func sharesPositionsAcrossRows() throws {
        let x = try Tensor.randn([3, 4, 2, 12], Generator(seed: 2))
        let one = try RoPE(firstFrames: [5], frames: 1, height: 2, width: 2, headDim: 12)
        let three = try RoPE(firstFrames: [5, 5, 5], frames: 1, height: 2, width: 2, headDim: 12)
        try expectClose(one(x), three(x), relative: 0, absolute: 0)
    }

    @Test func keepsDTypes() throws {
        let x = try Tensor.randn([1, 4, 2, 12], Generator(seed: 3))
        let rope = try RoPE(firstFrames: [5], frames: 1, height: 2, width: 2, headDim: 12)
        let half = try rope(x.to(.bfloat16))
        #expect(half.dtype == .bfloat16)
        try expectClose(half, rope(x), relative: 0.02, absolute: 0.02)
    }

    @Test func attentionDependsOnlyOnDistances() throws {
        let generator = try Generator(seed: 4)
        let (q, k) = (
            try Tensor.randn([1, 4, 1, 24], generator), try Tensor.randn([1, 4, 1, 24], generator)
        )
        func scores(_ first: Int) throws -> Tensor {
            let rope = try RoPE(firstFrames: [first], frames: 4, height: 1, width: 1, headDim: 24)
            return try matmul(
                rope(q).transposed(1, 2),
                rope(k).transposed(1, 2).transposed(2, 3)
            )
        }
        try expectClose(scores(123_456), scores(0), relative: 1e-4, absolute: 1e-4)
    }
}
