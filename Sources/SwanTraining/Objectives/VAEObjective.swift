import SwanModels
import Torch
import TorchNN

/// How an autoencoder is trained.
public struct VAEOptions: Codable, Sendable, Equatable {
    /// Steps in all.
    public var steps: Int
    /// Clips of a step.
    public var batch: Int
    /// Height and width of clips in pixels.
    public var size: Int
    /// Frames of a clip, taken in turn: numbers like 1, 5 or 9.
    public var frames: [Int]
    /// The part of clips that are put through one of the styles, which latents have to carry too.
    public var styled: Double
    /// The deviation of noise on latents, so that small errors of a transformer stay small.
    public var latentNoise: Double

    private enum CodingKeys: String, CodingKey {
        case steps, batch, size, frames, styled, latentNoise = "latent_noise"
    }
}

/// Reconstruction: squared error, absolute error, and the logarithm of each clip's squared error,
/// which keeps clips that are nearly right from being forgotten; latents are held near zero.
struct VAEObjective: Objective {
    let config: WanVAEConfig
    let options: VAEOptions
    let clips: any ClipSource
    let styles: [Style]
    let seed: UInt64
    /// Clips on a sample sheet.
    var samples = 0

    /// [B, T, 3, H, W] in [0, 1].
    func batch(step: Int) throws -> Tensor {
        let frames = options.frames[step % options.frames.count]
        let looks = styles.filter { !$0.changesNothing }
        var batch: [Tensor] = []
        for sample in 0..<options.batch {
            let index = UInt64(step * options.batch + sample)
            var clip = try clips.clip(
                index: index,
                frames: frames,
                height: options.size,
                width: options.size
            )
            var random = SampleRandom(seed: seed, index: index, purpose: 3)
            if !looks.isEmpty, random.chance(options.styled) { clip = try random.pick(looks)(clip) }
            batch.append(clip)
        }
        return try stacked(batch)
    }

    func loss(
        _ batch: Tensor,
        step: Int,
        _ parameters: [String: Tensor],
        carry: inout [String: Tensor]
    ) throws -> Loss {
        let weights = Weights(DictionaryWeights(parameters))
        let vae = try WanVAE(weights, config)
        try weights.finish()
        let video = try LatentCodec.video(batch)
        let mean = try vae.encode(video)
        let generator = try Generator(seed: Seed.mixed(seed, 4, UInt64(step)))
        let noise = try Tensor.randn(mean.shape, generator) * options.latentNoise
        let error = try vae.decode(mean + noise, clamped: false) - video
        let squared = try error.pow(2).mean([1, 2, 3, 4])  // [B]
        let reconstruction = try squared.mean()
        let total =
            try reconstruction + error.abs().mean() * 0.05
            + (squared + 1e-4).log().mean() * 0.02 + mean.pow(2).mean() * 1e-5
        return Loss(total: total, parts: ["squared_error": try reconstruction.item()])
    }
}
