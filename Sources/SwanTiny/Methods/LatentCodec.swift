import SwanModels
import SwanSystem
import Torch
import TorchNN
import SwanTraining

/// Pictures to the numbers that a transformer is trained on, and back.
struct LatentCodec: Sendable {
    private let vae: WanVAE

    /// A trained autoencoder, which works where its weights are and gives its results on the CPU; its
    /// latents are normalised as its config says.
    init(_ weights: [String: Tensor], _ config: WanVAEConfig) throws(SwanError) {
        let weights = Weights(leaves: weights)
        vae = try WanVAE(weights, config)
        try weights.finish()
    }

    /// The frames of the clip that latents stand for.
    func videoFrames(ofLatents count: Int) -> Int { vae.videoFrames(ofLatents: count) }

    /// Clips [B, T, 3, H, W] in [0, 1] -> normalised latents [B, C, F, h, w].
    func encode(_ clips: Tensor) throws(SwanError) -> Tensor {
        try vae.normalized(vae.encode(Self.video(clips))).to(.cpu)
    }

    /// Normalised latents [B, C, F, h, w] -> clips [B, T, 3, H, W] in [0, 1].
    func decode(_ latents: Tensor) throws(SwanError) -> Tensor {
        try (vae.decode(vae.denormalized(latents.to(vae.device))) * 0.5 + 0.5)
            .transposed(1, 2).to(.cpu)
    }

    /// Clips [B, T, 3, H, W] in [0, 1] -> what an autoencoder reads, [B, 3, T, H, W] in [-1, 1].
    static func video(_ clips: Tensor) throws(SwanError) -> Tensor {
        try (clips.transposed(1, 2) * 2 - 1).contiguous()
    }
}
