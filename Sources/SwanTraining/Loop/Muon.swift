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
            var (parameter, momentum) = (parameter, momentum)
            try momentum.interpolate(to: gradient, weight: 1 - Self.decay)
            // Nesterov momentum: look ahead along the momentum.
            let ahead = try gradient.interpolated(to: momentum, weight: Self.decay)
            let direction = try Self.orthogonalized(ahead, in: dtype ?? .suited(to: ahead.device))
            let size = 0.2 * Double(max(parameter.size(0), parameter.size(1))).squareRoot()
            try parameter.multiply(by: 1 - rate * weightDecay)
            try parameter.add(direction.to(parameter.dtype), scaledBy: -rate * size)
        }
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
