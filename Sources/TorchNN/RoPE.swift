import Foundation
public import SwanSystem
public import Torch

private let polarOp = Operator("aten::polar")
private let viewAsComplexOp = Operator("aten::view_as_complex")
private let viewAsRealOp = Operator("aten::view_as_real")

/// Rotary position embedding of video tokens.
///
/// Part of every head rotates with the frame, part with the row, and part with the column
/// (RoFormer, https://arxiv.org/abs/2104.09864; the split is Wan's).
public struct RoPE: Sendable {
    /// Unit complex numbers [B or 1, L, 1, D/2].
    private let rotations: Tensor

    /// Creates the rotations of tokens in the order frame, row, column.
    ///
    /// Angles are computed in float64 from the position, so there is no maximum position.
    ///
    /// - Parameters:
    ///   - firstFrames: The position of the first frame, one for each batch row (or one for all).
    ///   - headDim: The size D of a head; it is split D - 4(D/6), 2(D/6), 2(D/6) between frame, row
    ///     and column.
    public init(
        firstFrames: [Int],
        frames: Int,
        height: Int,
        width: Int,
        headDim: Int,
        theta: Double = 10_000,
        device: Device = .cpu
    ) throws(SwanError) {
        let spatial = 2 * (headDim / 6)
        let temporal = headDim - 2 * spatial
        func angles(_ positions: [Double], _ dim: Int) throws(SwanError) -> Tensor {
            let frequencies = (0..<(dim / 2)).map {
                Foundation.pow(theta, -2 * Double($0) / Double(dim))
            }
            return try Tensor(
                positions.flatMap { position in
                    // Full turns are removed on the host, in float64.
                    frequencies.map { (position * $0).truncatingRemainder(dividingBy: 2 * .pi) }
                },
                [positions.count, dim / 2]
            )
        }
        let rows = firstFrames.count
        let positions = firstFrames.flatMap { first in (0..<frames).map { Double(first + $0) } }
        let f = try angles(positions, temporal).reshaped(rows, frames, 1, 1, -1)
        let h = try angles((0..<height).map(Double.init), spatial).reshaped(1, 1, height, 1, -1)
        let w = try angles((0..<width).map(Double.init), spatial).reshaped(1, 1, 1, width, -1)
        let grid = [rows, frames, height, width]
        let all = try concatenated(
            [
                f.expanded(grid + [temporal / 2]), h.expanded(grid + [spatial / 2]),
                w.expanded(grid + [spatial / 2]),
            ],
            dim: -1
        )
        let flat = try all.reshaped(rows, frames * height * width, 1, headDim / 2)
        rotations = try polarOp(flat.onesLike(), flat).to(device, .complex64)
    }

    private init(_ rotations: Tensor) { self.rotations = rotations }

    /// The rotations of a range of the tokens.
    public func sliced(tokens: Range<Int>) throws(SwanError) -> RoPE {
        RoPE(try rotations.narrowed(1, tokens.lowerBound, tokens.count))
    }

    /// Rotates each pair of adjacent elements of D in x [B, L, N, D] by its token's angle.
    public func callAsFunction(_ x: Tensor) throws(SwanError) -> Tensor {
        let pairs = try x.to(.float32).unflattened(-1, [-1, 2])  // [B, L, N, D/2, 2]
        let turned = try viewAsComplexOp(pairs.contiguous()) * rotations
        return try viewAsRealOp(turned).flattened(from: 3).to(x.dtype)  // [B, L, N, D]
    }
}
