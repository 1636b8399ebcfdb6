import Foundation
import SwanCheckpoints
import SwanModels
import SwanText

/// Everything a training run depends on: the same recipe on the same footage gives the same model.
public struct Recipe: Codable, Sendable, Equatable {
    /// The model's name.
    public var name: String
    /// What all random numbers come from.
    public var seed: UInt64
    /// The licence that the weights are given.
    public var license: String
    /// A model to go on from: a bundled one's name, or a folder. Its autoencoder and its tokenizer stay
    /// as they are. Nil to begin with nothing.
    public var start: String?
    /// Threads on the CPU: micro-batches that are worked on at a time. Where there are fewer of them,
    /// operators have several threads, on which the last bits of sums depend.
    public var threads: Int
    /// The footage; files are sought below the data root.
    public var data: DataConfig
    /// The looks to learn, among them `none` for prompts that ask for no change.
    public var styles: [Style]
    /// The autoencoder.
    public var vae: VAEStage
    /// The tokenizer and the text encoder.
    public var text: TextStage
    /// The transformer, trained together with the text encoder.
    public var transformer: TransformerStage
    /// When checkpoints are written.
    public var checkpoints: CheckpointSchedule
    /// Pictures of what the networks do so far; 3 clips every 200 steps if not given.
    public var samples: SampleOptions?
    /// What a stream has to know of the model; becomes `stream.yaml` in the model's folder.
    public var stream: StreamConfiguration

    /// The autoencoder's sizes and training.
    public struct VAEStage: Codable, Sendable, Equatable {
        /// Its sizes; means and deviations of latents are measured.
        public var model: WanVAEConfig
        /// What a step is.
        public var training: VAEOptions
        /// How weights change.
        public var optimizer: OptimizerOptions
    }

    /// The text encoder's sizes and its tokenizer.
    public struct TextStage: Codable, Sendable, Equatable {
        /// Its sizes; the vocabulary is the largest that the tokenizer may have.
        public var model: UMT5Config
        /// Prompts that the tokenizer is trained on.
        public var sentences: Int
        /// Steps in which the encoder learns which style a prompt asks for, before the transformer.
        public var steps: Int
        /// Prompts of such a step.
        public var batch: Int
        /// The largest step of these weights; the transformer's if it is not given.
        public var learningRate: Double?

        private enum CodingKeys: String, CodingKey {
            case model, sentences, steps, batch, learningRate = "learning_rate"
        }
    }

    /// The transformer's sizes and training.
    public struct TransformerStage: Codable, Sendable, Equatable {
        /// Its sizes.
        public var model: WanConfig
        /// What a step is.
        public var training: StreamTrainingOptions
        /// Picture sizes, one after the other.
        public var phases: [StreamPhase]
        /// How weights change.
        public var optimizer: OptimizerOptions
    }
}

extension Recipe {
    /// `samples`, or what is usual.
    var sampling: SampleOptions { samples ?? SampleOptions() }

    /// Whether a stage computes layers again for gradients instead of keeping them.
    public var checkpointsGradients: Bool {
        vae.training.gradientCheckpointing ?? false
            || transformer.training.gradientCheckpointing ?? false
    }

    /// Whether a stage computes in bfloat16.
    public var usesBFloat16: Bool {
        [vae.training.precision, transformer.training.precision].contains(.bfloat16)
    }

    /// Throws where numbers do not fit each other.
    func check() throws(TrainingError) {
        func require(_ holds: Bool, _ message: @autoclosure () -> String) throws(TrainingError) {
            guard holds else { throw TrainingError(.invalidRecipe, message()) }
        }
        try checkNumbers()
        try require(
            !name.isEmpty && !styles.isEmpty,
            "a recipe needs a name and at least one style"
        )
        try require(
            Set(styles.map(\.name)).count == styles.count,
            "styles: two have the same name"
        )
        try require(
            transformer.model.inDim == vae.model.zDim && transformer.model.outDim == vae.model.zDim,
            "transformer.model: in_dim and out_dim must be vae.model.z_dim, \(vae.model.zDim)"
        )
        try require(
            transformer.model.textDim == text.model.dim,
            "transformer.model.text_dim must be text.model.d_model, \(text.model.dim)"
        )
        try require(
            vae.training.steps > 0 && vae.training.batch > 0 && !vae.training.frames.isEmpty
                && (vae.training.decoderSteps ?? 0) >= 0,
            "vae.training: steps and batch count from 1, decoder_steps from 0, frames is a list"
        )
        try require(text.steps > 0 && text.batch > 0, "text: steps and batch count from 1")
        try require(
            text.model.vocabulary > TokenizerTrainer.marksAndBytes,
            "text.model.vocab_size is \(text.model.vocabulary); marks and bytes alone take "
                + "\(TokenizerTrainer.marksAndBytes)"
        )
        let rates = [
            ("vae.optimizer", vae.optimizer.learningRate),
            ("transformer.optimizer", transformer.optimizer.learningRate),
            ("text", text.learningRate ?? transformer.optimizer.learningRate),
        ]
        for (section, rate) in rates {
            try require(rate > 0, "\(section).learning_rate is \(rate); it is above 0")
        }
        let pixels = vae.model.spatialStride
        let step = vae.model.temporalStride
        try require(
            vae.training.frames.allSatisfy { $0 > 0 && ($0 - 1) % step == 0 },
            "vae.training.frames \(vae.training.frames): each is 1 more than a multiple of \(step)"
        )
        try require(
            vae.training.size > 0 && vae.training.size % pixels == 0,
            "vae.training.size \(vae.training.size): a multiple of \(pixels) is needed"
        )
        let patch = pixels * (transformer.model.patchSize.max() ?? 1)
        try require(!transformer.phases.isEmpty, "transformer.phases: at least one is needed")
        for phase in transformer.phases {
            try require(
                phase.steps > 0 && phase.batch > 0 && phase.pool > 0 && phase.firstClips > 0
                    && phase.stepsPerClip > 0 && phase.size > 0 && phase.size % patch == 0,
                "transformer.phases: numbers count from 1 and size is a multiple of \(patch)"
            )
        }
        // With `start` the autoencoder is not trained.
        let sizes = (start == nil ? [vae.training.size] : []) + transformer.phases.map(\.size)
        for style in styles {
            for side in sizes {
                let misfits = style.filters.compactMap { $0.misfit(side) }
                guard let misfit = misfits.first else { continue }
                throw TrainingError(
                    .invalidRecipe,
                    "styles: \(style.name) cannot be made of pictures of \(side)x\(side) pixels: "
                        + misfit
                )
            }
        }
        try require(
            [stream.height, stream.width].allSatisfy { side in side.map { $0 % patch == 0 } ?? false
            },
            "stream: height and width must be given, in multiples of \(patch)"
        )
        let training = transformer.training
        try require(
            training.latentFrames > 0 && training.window > 0 && !training.laterTimesteps.isEmpty,
            "transformer.training: latent_frames and window count from 1, later_timesteps is a list"
        )
        try require(
            training.noiseScale <= 1 && training.noiseSpread >= 0
                && training.noiseSpread <= training.noiseScale,
            "transformer.training: noise_scale is at most 1, noise_spread at most noise_scale"
        )
        try require(
            training.firstTimestepOffset == stream.timestepOffset,
            "transformer.training and stream: timestep_offset is not the same"
        )
        let offset = Double(training.firstTimestepOffset)
        let least = 1_000 * (training.noiseScale - training.noiseSpread)
        try require(
            least + offset > 0 && 1_000 * training.noiseScale + offset <= 1_000,
            "transformer.training: a first timestep is 1000 times the noise, which is noise_scale less "
                + "noise_spread up to noise_scale, plus timestep_offset "
                + "(\(training.firstTimestepOffset)); it must be above 0 and at most 1000"
        )
        try require(
            !(vae.optimizer.muon ?? false),
            "vae.optimizer: muon is for the transformer's matrices; convolutions learn by AdamW"
        )
        for optimizer in [vae.optimizer, transformer.optimizer] {
            try require(
                optimizer.betas.count == 2 && optimizer.learningRate > 0
                    && optimizer.maximumGradientNorm > 0,
                "optimizer: betas are two, learning_rate and maximum_gradient_norm above 0"
            )
            try require(
                (optimizer.microBatches ?? 1) > 0,
                "optimizer.micro_batches counts from 1"
            )
        }
        try require(
            checkpoints.everySteps > 0 && checkpoints.kept > 0 && checkpoints.everyMinutes > 0,
            "checkpoints: every_steps, every_minutes and kept are above 0"
        )
        if let samples {
            try require(
                samples.everySteps > 0 && samples.clips >= 0,
                "samples: every_steps counts from 1, clips from 0"
            )
        }
    }
}
