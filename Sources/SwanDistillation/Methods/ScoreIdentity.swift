import SwanSystem
import Torch

/// Score identity distillation, https://arxiv.org/abs/2404.04057, as Self-Forcing trains with it
/// (https://arxiv.org/abs/2506.08009).
enum ScoreIdentity {
    /// The mean of (r - f) ((r - p) - alpha (r - f)) / n, with gradients through the prediction p
    /// and both scores; n is the mean of |p - r| for each sample, and constant. All are [B, C, F,
    /// H, W].
    static func loss(
        _ p: Tensor,
        real r: Tensor,
        fake f: Tensor,
        alpha: Double
    ) throws(SwanError) -> Tensor {
        let difference = try r.to(.float64) - f.to(.float64)
        let n = try withoutGradients { () throws(SwanError) in
            try (p.detached() - r.detached()).abs().mean([1, 2, 3, 4], keepDim: true).to(.float64)
        }
        let terms = try difference * (r.to(.float64) - p.to(.float64) - difference * alpha) / n
        return try MatchingGradient.finite(terms).mean().to(.float32)
    }
}
