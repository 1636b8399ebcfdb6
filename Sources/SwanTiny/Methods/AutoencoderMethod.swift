import SwanModels
package import SwanTraining
import Torch
import TorchNN

/// The options for training an autoencoder.
package struct VAEOptions: Codable, Sendable, Equatable {
    /// The number of training steps.
    package var steps: Int
    /// The number of steps before training that fit the linear code from which the network starts.
    package var linearSteps: Int
    /// The number of steps after training in which only the decoder is trained and the latents stay
    /// fixed; defaults to 0.
    package var decoderSteps: Int?
    /// Clips per step.
    package var batch: Int
    /// The height and width of clips in pixels.
    package var size: Int
    /// The frame counts of clips, used in turn: numbers such as 1, 5 or 9.
    package var frames: [Int]
    /// The fraction of clips rendered in one of the styles, which latents have to represent too.
    package var styled: Double
    /// The standard deviation of noise added to latents, so that small errors of a transformer have
    /// small effects.
    package var latentNoise: Double
    /// The weight of the perceptual loss relative to the squared error, see `PyramidDistance`.
    package var perceptual: Double
    /// The weight of the KL divergence of the latents from a normal distribution, in nats per
    /// latent.
    package var divergence: Double
    /// The data type that the network computes in; defaults to float32.
    package var precision: Precision?
    /// Whether to recompute activations in the backward pass instead of storing them, which saves
    /// memory and takes more time.
    package var gradientCheckpointing: Bool?

    private enum CodingKeys: String, CodingKey {
        case steps, linearSteps = "linear_steps", decoderSteps = "decoder_steps"
        case batch, size, frames, styled
        case latentNoise = "latent_noise", perceptual, divergence
        case precision, gradientCheckpointing = "gradient_checkpointing"
    }
}

/// Reconstruction: squared error; absolute error; the logarithm of each clip's squared error, which
/// keeps clips that are nearly right improving; a perceptual loss; and the KL divergence of the
/// latents (https://arxiv.org/abs/1312.6114).
///
/// Trains the role `autoencoder` as a whole or, if the encoder's weights are fixed, trains
/// `decoder` with a frozen `encoder`.
struct AutoencoderMethod: Method {
    let config: WanVAEConfig
    let options: VAEOptions
    let optimizer: OptimizerOptions
    let clips: any ClipSource
    let styles: [Style]
    let seed: UInt64
    /// The number of clips on a sample sheet.
    var samples = 0
    /// The index of the first training clip.
    var firstClip = 0
    /// The encoder's weights, if they are fixed.
    var fixed: [String: Tensor] = [:]

    /// The trained role.
    var trainedRole: String { fixed.isEmpty ? "autoencoder" : "decoder" }

    var roles: [Role] {
        [.trained(trainedRole, by: optimizer)] + (fixed.isEmpty ? [] : [.frozen("encoder")])
    }

    func updates(at step: Int) -> [Update<Tensor>] { [Update(of: trainedRole, by: loss)] }

    /// Returns all weights, trained and fixed.
    func whole(_ networks: Networks) -> [String: Tensor] {
        networks[trainedRole].merging(fixed) { trained, _ in trained }
    }

    /// Returns clips [B, T, 3, H, W] in [0, 1].
    func batch(_ place: BatchPlace) throws -> Tensor {
        let frames = options.frames[place.number % options.frames.count]
        let looks = styles.filter { !$0.changesNothing }
        var batch: [Tensor] = []
        for sample in 0..<options.batch {
            let index = UInt64(firstClip + place.number * options.batch + sample)
            var clip = try clips.clip(
                index: index,
                frames: frames,
                height: options.size,
                width: options.size
            )
            var random = SampleRandom(seed: seed, index: index, purpose: .autoencoderStyle)
            if !looks.isEmpty, random.chance(options.styled) { clip = try random.pick(looks)(clip) }
            batch.append(clip)
        }
        return try stacked(batch)
    }

    func loss(
        _ batch: Tensor,
        _ place: BatchPlace,
        _ networks: Networks,
        carry: inout [String: Tensor]
    ) throws -> Loss {
        let weights = Weights(leaves: whole(networks), options.precision)
        let vae = try WanVAE(
            weights,
            config,
            recomputing: options.gradientCheckpointing ?? false
        )
        try weights.finish()
        let video = try LatentCodec.video(batch).to(weights.device)
        let generator = try Generator(
            seed: seed,
            purpose: .autoencoderNoise,
            index: UInt64(place.number)
        )
        let moments = try vae.moments(video)
        let mean = try moments.mean.to(.float32)
        let logVariance = try moments.logVariance.to(.float32)
        let variance = try logVariance.clamped(min: -30, max: 20).exp()
        // The encoder's own uncertainty, and at least that of a transformer's output.
        let deviation = try (variance + options.latentNoise * options.latentNoise).squareRoot()
        let noise = try Tensor.randn(mean.shape, generator).to(weights.device)
        let result = try vae.decode(mean + deviation * noise, clamped: false).to(.float32)
        let error = try result - video
        let squared = try error.pow(2).mean([1, 2, 3, 4])  // [B]
        let reconstruction = try squared.mean()
        let perceptual = try PyramidDistance.mean(error, video)
        let divergence = try (mean.pow(2) + variance - 1 - logVariance).mean() * 0.5
        let total =
            try reconstruction + error.abs().mean() * 0.05 + (squared + 1e-4).log().mean() * 0.02
            + perceptual * options.perceptual + divergence * options.divergence
        return Loss(
            total: total,
            parts: [
                "squared_error": reconstruction, "perceptual": perceptual,
                "divergence": divergence,
            ]
        )
    }
}

extension AutoencoderMethod {
    /// Creates the method of a recipe.
    init(_ recipe: Recipe, _ clips: any ClipSource) {
        config = recipe.vae.model
        options = recipe.vae.training
        optimizer = recipe.vae.optimizer
        self.clips = clips
        styles = recipe.styles
        seed = recipe.seed
        samples = recipe.sampling.clips
    }
}
