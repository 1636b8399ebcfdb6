import SwanSystem
import Torch

private let addProductOp = Operator("aten::addmm")

/// Muon: every step of a matrix is nearly orthogonal, so that no direction of it waits for the others
/// (https://kellerjordan.github.io/posts/muon/).
///
/// As PyTorch's `torch.optim.Muon`, its steps as large as AdamW's of the same learning rate
/// (`match_rms_adamw`, https://arxiv.org/abs/2502.16982).
struct Muon: Sendable {
    /// The learning rate.
    let rate: Double
    /// Decoupled weight decay.
    let weightDecay: Double
    /// What orthogonal matrices are computed in; nil for what suits the device.
    var dtype: DType?

    /// How much of its momentum a step keeps.
    private static let decay = 0.95

    /// Changes a matrix and its momentum in place.
    func step(
        _ parameter: Tensor,
        _ gradient: Tensor,
        momentum: Tensor
    ) throws(SwanError) {
        try withoutGradients { () throws(SwanError) in
            var (parameter, momentum) = (parameter, momentum)
            try momentum.interpolate(to: gradient, weight: 1 - Self.decay)
            // Nesterov's way: a look ahead along the momentum.
            let ahead = try gradient.interpolated(to: momentum, weight: Self.decay)
            let direction = try Self.orthogonalized(ahead, in: dtype ?? .suited(to: ahead.device))
            let size = 0.2 * Double(max(parameter.size(0), parameter.size(1))).squareRoot()
            try parameter.multiply(by: 1 - rate * weightDecay)
            try parameter.add(direction.to(parameter.dtype), scaledBy: -rate * size)
        }
    }

    /// A matrix with the same singular vectors, and singular values of about 1: five iterations of
    /// Newton and Schulz, with coefficients that raise small values fast and let large ones be 0.7 to 1.2.
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
