import SwanModels
public import SwanTraining
import Torch
import TorchNN

/// How an autoencoder is trained.
public struct VAEOptions: Codable, Sendable, Equatable {
    /// Steps in all.
    public var steps: Int
    /// Steps before those in which the linear code that the network starts from is fitted.
    public var linearSteps: Int
    /// Steps after those in which the decoder alone goes on learning, and latents stay what they are;
    /// none if it is not given.
    public var decoderSteps: Int?
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
    /// How much the looks of an error count beside its square, see `PyramidDistance`.
    public var perceptual: Double
    /// How much the divergence of latents from a normal distribution counts, in nats for each of them.
    public var divergence: Double
    /// What the network computes in; float32 if it is not given.
    public var precision: Precision?
    /// Whether layers are computed again for gradients instead of being kept: less memory, more time.
    public var gradientCheckpointing: Bool?

    private enum CodingKeys: String, CodingKey {
        case steps, linearSteps = "linear_steps", decoderSteps = "decoder_steps"
        case batch, size, frames, styled
        case latentNoise = "latent_noise", perceptual, divergence
        case precision, gradientCheckpointing = "gradient_checkpointing"
    }
}

/// Reconstruction: squared error, absolute error, and the logarithm of each clip's squared error,
/// which keeps clips that are nearly right from being forgotten; how errors look; and the divergence
/// of the latents (https://arxiv.org/abs/1312.6114).
///
/// The role `autoencoder` is trained as a whole; or, where the encoder's weights are fixed, `decoder` is
/// trained and `encoder` is frozen.
struct AutoencoderMethod: Method {
    let config: WanVAEConfig
    let options: VAEOptions
    let optimizer: OptimizerOptions
    let clips: any ClipSource
    let styles: [Style]
    let seed: UInt64
    /// Clips on a sample sheet.
    var samples = 0
    /// The index of the first clip that it is trained on.
    var firstClip = 0
    /// The encoder's weights, if they stay as they are.
    var fixed: [String: Tensor] = [:]

    /// The role that is trained.
    var trainedRole: String { fixed.isEmpty ? "autoencoder" : "decoder" }

    var roles: [Role] {
        [.trained(trainedRole, by: optimizer)] + (fixed.isEmpty ? [] : [.frozen("encoder")])
    }

    func updates(at step: Int) -> [Update<Tensor>] { [Update(of: trainedRole, by: loss)] }

    /// All weights, trained and fixed.
    func whole(_ networks: Networks) -> [String: Tensor] {
        networks[trainedRole].merging(fixed) { trained, _ in trained }
    }

    /// [B, T, 3, H, W] in [0, 1].
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
        // The network's own uncertainty, and at least that of a transformer's results.
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
    /// The method of a recipe.
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
