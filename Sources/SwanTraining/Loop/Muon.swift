import SwanDistributed
import SwanSystem
import Torch

private let addProductOp = Operator("aten::addmm")

/// The Muon optimizer: orthogonalizes the update of each matrix, so that all directions make equal
/// progress (https://kellerjordan.github.io/posts/muon/).
///
/// Follows PyTorch's `torch.optim.Muon` with updates as large as AdamW's at the same learning rate
/// (`match_rms_adamw`, https://arxiv.org/abs/2502.16982).
struct Muon: Sendable {
    /// The learning rate.
    let rate: Double
    /// Decoupled weight decay.
    let weightDecay: Double
    /// The data type of the orthogonalization; nil selects one for the device.
    var dtype: DType?

    /// The decay of the momentum.
    private static let decay = 0.95

    /// Updates a matrix and its momentum in place.
    func step(
        _ parameter: Tensor,
        _ gradient: Tensor,
        momentum: Tensor
    ) throws(SwanError) {
        try withoutGradients { () throws(SwanError) in
            let ahead = try advance(momentum, gradient)
            try apply(direction(ahead), to: parameter, shape: parameter.shape)
        }
    }

    /// The same where each rank of a group has a part of the parameter, of its gradient and of its
    /// momentum (`Shard.range`). The matrix is whole while its direction is found, by every rank.
    func step(
        _ parameter: Tensor,
        _ gradient: Tensor,
        momentum: Tensor,
        shape: [Int],
        _ group: ProcessGroup
    ) throws(SwanError) {
        try withoutGradients { () throws(SwanError) in
            let count = shape.reduce(1, *)
            let part = try advance(momentum, gradient)
            let padding = Shard.length(count, among: group.size) - part.count
            let ahead = try group.unsharded(part.padded([0, padding]), as: part.dtype)
                .narrowed(0, 0, count).reshaped(shape)
            let range = Shard.range(count, of: group.rank, among: group.size)
            let own = try direction(ahead).reshaped([-1])
                .narrowed(0, range.lowerBound, range.count)
            try apply(own, to: parameter, shape: shape)
        }
    }

    /// Moves the momentum to the gradient, and looks ahead along it: Nesterov momentum.
    private func advance(_ momentum: Tensor, _ gradient: Tensor) throws(SwanError) -> Tensor {
        var momentum = momentum
        try momentum.interpolate(to: gradient, weight: 1 - Self.decay)
        return try gradient.interpolated(to: momentum, weight: Self.decay)
    }

    private func direction(_ ahead: Tensor) throws(SwanError) -> Tensor {
        try Self.orthogonalized(ahead, in: dtype ?? .suited(to: ahead.device))
    }

    /// Moves a parameter, or a part of it, whose whole has a shape.
    private func apply(
        _ direction: Tensor,
        to parameter: Tensor,
        shape: [Int]
    ) throws(SwanError) {
        var parameter = parameter
        let size = 0.2 * Double(max(shape[0], shape[1])).squareRoot()
        try parameter.multiply(by: 1 - rate * weightDecay)
        try parameter.add(direction.to(parameter.dtype), scaledBy: -rate * size)
    }

    /// Returns a matrix with the same singular vectors and singular values of about 1: five
    /// Newton-Schulz iterations, with coefficients that raise small values quickly and let large
    /// ones end up between 0.7 and 1.2.
    static func orthogonalized(_ matrix: Tensor, in dtype: DType) throws(SwanError) -> Tensor {
        let isTall = matrix.size(0) > matrix.size(1)
        var x = try matrix.to(dtype)
        if isTall { x = try x.transposed(0, 1) }
        x = try x / x.norm().clamped(min: 1e-7)
        for _ in 0..<5 {
            let a = try matmul(x, x.transposed(0, 1))
            let b = try addProductOp(a, a, a, -4.775, 2.0315)
            x = try addProductOp(x, b, x, 3.4445, 1)
        }
        return isTall ? try x.transposed(0, 1) : x
    }
}
