package import SwanSystem
package import Torch

/// The gradient of distribution matching with respect to the generator's prediction.
///
/// One-step Diffusion with Distribution Matching Distillation, https://arxiv.org/abs/2311.18828,
/// equations 7 and 8. Tensors are [B, C, F, H, W] in float32.
package struct MatchingGradient {
    /// (f - r) / n, with numbers that are not finite replaced.
    package let gradient: Tensor
    /// The mean of |p - r| for each sample [B, 1, 1, 1, 1].
    package let normalizer: Tensor

    /// Computes the gradient for the prediction p, the real score r and the fake score f.
    package init(_ p: Tensor, real r: Tensor, fake f: Tensor) throws(SwanError) {
        normalizer = try (p - r).abs().mean([1, 2, 3, 4], keepDim: true)
        gradient = try Self.finite((f - r) / normalizer)
    }

    /// What the loss ½ mean (p - sg(p - g))² is: half of the mean of the gradient's squares.
    package func loss() throws(SwanError) -> Tensor { try Self.loss(gradient) }

    /// The same of a part of the gradient.
    static func loss(_ gradient: Tensor) throws(SwanError) -> Tensor {
        try gradient.to(.float64).pow(2).mean() * 0.5
    }

    /// NaN becomes 0, infinities the largest finite number.
    static func finite(_ x: Tensor) throws(SwanError) -> Tensor {
        let largest = Double(Float.greatestFiniteMagnitude)
        return try choose(x .== x, x, x.zerosLike()).clamped(min: -largest, max: largest)
    }
}

/// A score with guidance: c + w (c - u), where u is the prediction for the negative prompt.
///
/// This w is one less than an ordinary guidance scale.
func guided(_ c: Tensor, _ u: Tensor, _ w: Double) throws(SwanError) -> Tensor {
    try c + (c - u) * w
}
