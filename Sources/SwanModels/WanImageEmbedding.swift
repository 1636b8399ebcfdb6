import Torch
import TorchNN
import SwanSystem

/// Projects image tokens from CLIP to the width of the transformer.
///
/// Wan, https://arxiv.org/abs/2503.20314, section 5.1; MLPProj of wan/modules/model.py.
struct WanImageEmbedding: Sendable {
    private let positions: Tensor?
    private let norm1, norm2: LayerNorm
    private let up, down: Linear
    private let dim: Int

    init(_ weights: Weights, _ dim: Int, _ config: WanConfig) throws(SwanError) {
        self.dim = dim
        let proj = weights["proj"]
        positions = try config.imagePositions.map { count throws(SwanError) in
            try weights.tensor("emb_pos", [1, count, dim])
        }
        // The layer's own default, whatever the epsilon of the transformer's other norms.
        let eps = 1e-5
        norm1 = try LayerNorm(proj[0], dim, eps: eps)
        up = try Linear(proj[1], dim, dim)
        down = try Linear(proj[3], dim, config.dim)
        norm2 = try LayerNorm(proj[4], config.dim, eps: eps)
    }

    /// [B, P, imageDim] -> [B, P, C]. With learned positions, P is their count, or the images of a
    /// video are consecutive in the batch: [2B, P/2, imageDim].
    func callAsFunction(_ image: Tensor) throws(SwanError) -> Tensor {
        guard image.rank == 3, image.size(2) == dim else {
            throw SwanError(
                .invalidArgument,
                "image tokens \(image.shape): the model expects [B, P, \(dim)]"
            )
        }
        var x = image
        if let positions {
            let count = positions.size(1)
            guard image.size(0) * image.size(1) % count == 0, count % image.size(1) == 0 else {
                throw SwanError(
                    .invalidArgument,
                    "image tokens \(image.shape): the model expects \(count) for each video"
                )
            }
            x = try x.reshaped(-1, count, dim) + positions
        }
        return try norm2(down(up(norm1(x)).gelu()))
    }
}
