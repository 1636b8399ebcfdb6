import SwanModels
import SwanSystem
import Torch
import TorchNN
import SwanTraining

/// Encodes clips to the latents that a transformer is trained on, and decodes them.
struct LatentCodec: Sendable {
    private let vae: WanVAE

    /// Wraps a trained autoencoder, which runs on the device of its weights and returns results on
    /// the CPU. Latents are normalized with the statistics in its config.
    init(_ weights: [String: Tensor], _ config: WanVAEConfig) throws(SwanError) {
        let weights = Weights(leaves: weights)
        vae = try WanVAE(weights, config)
        try weights.finish()
    }

    /// The width and height in pixels of the area that one latent represents.
    var spatialStride: Int { vae.config.spatialStride }

    /// Returns the number of video frames that `count` latent frames stand for.
    func videoFrames(ofLatents count: Int) -> Int { vae.videoFrames(ofLatents: count) }

    /// Encodes clips [B, T, 3, H, W] in [0, 1] to normalized latents [B, C, F, h, w].
    func encode(_ clips: Tensor) throws(SwanError) -> Tensor {
        try vae.normalized(vae.encode(Self.video(clips))).to(.cpu)
    }

    /// Decodes normalized latents [B, C, F, h, w] to clips [B, T, 3, H, W] in [0, 1].
    func decode(_ latents: Tensor) throws(SwanError) -> Tensor {
        try (vae.decode(vae.denormalized(latents.to(vae.device))) * 0.5 + 0.5)
            .transposed(1, 2).to(.cpu)
    }

    /// Converts clips [B, T, 3, H, W] in [0, 1] to the input of an autoencoder, [B, 3, T, H, W] in
    /// [-1, 1].
    static func video(_ clips: Tensor) throws(SwanError) -> Tensor {
        try (clips.transposed(1, 2) * 2 - 1).contiguous()
    }
}
