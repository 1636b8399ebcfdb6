import SwanSchedulers
package import SwanSystem
package import SwanTraining
package import Torch
import TorchNN

/// Distribution matching distillation: a generator of few steps learns to make samples that a slow
/// teacher (the real score) finds as likely as those of its own distribution, which a critic (the
/// fake score) follows.
///
/// DMD, https://arxiv.org/abs/2311.18828; DMD2, https://arxiv.org/abs/2405.14867; for causal video
/// CausVid, https://arxiv.org/abs/2412.07772. Latents are [B, C, F, H, W].
package struct DistributionMatching: Method {
    /// The names of the trained roles.
    package static let generator = "generator"
    package static let critic = "critic"

    /// Texts, and data if the generator's inputs are made from it.
    package struct Rows: Sendable {
        /// The embeddings of the prompts [B, T, textDim]; rows of zeros are padding.
        package let text: Tensor
        /// Clean latents [B, C, F, H, W].
        package let latents: Tensor?

        /// Creates rows.
        package init(text: Tensor, latents: Tensor?) {
            self.text = text
            self.latents = latents
        }
    }

    /// The rows of a step for each network.
    package struct Batch: Sendable {
        package let generator, critic: Rows

        /// Creates a batch; in steps without an update of the generator, its rows are the critic's.
        package init(generator: Rows? = nil, critic: Rows) {
            self.generator = generator ?? critic
            self.critic = critic
        }

        /// Creates a batch that both networks share.
        package init(text: Tensor, latents: Tensor?) {
            self.init(critic: Rows(text: text, latents: latents))
        }
    }

    /// The forms of the trained networks, and the teacher.
    package struct Parts: Sendable {
        package let generator, critic: NetworkForm
        /// The teacher: built once, in its own dtype, and in no checkpoint.
        package let real: CleanPredictor
        /// The embedding of the negative prompt [1, T, textDim].
        package let negative: Tensor
        /// Makes the first latent frame of a video's end from the latents [B, C, f, H, W] up to it:
        /// their last picture, encoded as the first one of a video [B, C, 1, H, W]. Needed if videos
        /// are longer than what scores see.
        package var firstFrame: (@Sendable (Tensor) throws -> Tensor)?

        /// Creates the parts.
        package init(
            generator: NetworkForm,
            critic: NetworkForm,
            real: CleanPredictor,
            negative: Tensor
        ) {
            self.generator = generator
            self.critic = critic
            self.real = real
            self.negative = negative
        }
    }

    let options: MatchingOptions
    let parts: Parts
    let draws: any DrawSource
    private let optimizers: (generator: OptimizerOptions, critic: OptimizerOptions)
    private let makeBatch: @Sendable (BatchPlace) throws -> Batch
    let decode: Decode?
    private let heldOut: HeldOut<Batch>?

    /// Decodes latents [1, C, F, H, W] to a video [1, 3, T, H, W] in [0, 1].
    package typealias Decode = @Sendable (Tensor) throws -> Tensor

    /// Creates the method.
    ///
    /// - Parameters:
    ///   - decode: Decodes latents for samples; nil for none.
    ///   - heldOut: Data to measure losses on; nil for none.
    ///   - batch: Makes the micro-batch at a place.
    package init(
        _ options: MatchingOptions,
        _ parts: Parts,
        optimizers: (generator: OptimizerOptions, critic: OptimizerOptions),
        draws: any DrawSource,
        decode: Decode? = nil,
        heldOut: HeldOut<Batch>? = nil,
        batch: @escaping @Sendable (BatchPlace) throws -> Batch
    ) throws(SwanError) {
        guard options.denoisingLoss.fitsFlowMatching else {
            throw SwanError(
                .invalidRecipe,
                "denoising_loss_type: \(options.denoisingLoss.rawValue) needs a diffusion "
                    + "schedule; Wan models match flows: use flow or x0"
            )
        }
        if let most = options.rollout?.mostFrames, most > options.shape.frames,
            parts.firstFrame == nil
        {
            throw SwanError(
                .invalidRecipe,
                "num_training_frames: videos of \(most) latent frames, of which scores see "
                    + "\(options.shape.frames), need a model with an autoencoder"
            )
        }
        self.options = options
        self.parts = parts
        self.draws = draws
        self.optimizers = optimizers
        self.decode = decode
        self.heldOut = heldOut
        makeBatch = batch
    }

    package var roles: [Role] {
        [
            .trained(Self.generator, by: optimizers.generator),
            .trained(Self.critic, by: optimizers.critic),
            .frozen("real_score"), .frozen("text_encoder"),
        ]
    }

    package var sharesWeights: Bool { options.sharesWeights }

    package func batch(_ place: BatchPlace) throws -> Batch { try makeBatch(place) }

    package func updates(at step: Int) -> [Update<Batch>] {
        let critic = Update<Batch>(of: Self.critic) { batch, place, networks, _ in
            try criticLoss(batch, place, networks).loss
        }
        guard step.isMultiple(of: options.ratio) else { return [critic] }
        let generator = Update<Batch>(of: Self.generator) { batch, place, networks, _ in
            try generatorLoss(batch, place, networks).loss
        }
        return [generator, critic]
    }

    package func measures(_ networks: Networks) throws -> [String: Double] {
        try heldOut?.means { batch, place in
            let judged = try generatorLoss(batch, place, networks, drawing: .heldOut).loss
            let denoised = try criticLoss(batch, place, networks, drawing: .heldOut).loss
            return judged.parts.merging(denoised.parts) { first, _ in first }
        } ?? [:]
    }

    // MARK: - Losses

    /// A loss with the latents that explain it, by the names of the reference.
    package struct Explained {
        package let loss: Loss
        package let latents: [String: Tensor]
        /// The timesteps of the score.
        package let timesteps: [[Double]]
    }

    /// The generator's loss, whose gradient with respect to its prediction p is g / p.count.
    package func generatorLoss(
        _ batch: Batch,
        _ place: BatchPlace,
        _ networks: Networks,
        drawing pass: DistillationPass = .generator
    ) throws -> Explained {
        let rows = batch.generator
        let drawn = try drawn(pass, rows, place)
        let p = try prediction(networks, rows, drawn)
        let critic = try predictor(Self.critic, parts.critic, networks)
        return try judged(p, by: critic, rows, drawn)
    }

    /// The critic's loss on what the generator makes now, which is constant.
    package func criticLoss(
        _ batch: Batch,
        _ place: BatchPlace,
        _ networks: Networks,
        drawing pass: DistillationPass = .critic
    ) throws -> Explained {
        let rows = batch.critic
        let drawn = try drawn(pass, rows, place)
        let p = try withoutGradients { try prediction(networks, rows, drawn) }
        return try denoised(p, predictor(Self.critic, parts.critic, networks), rows, drawn)
    }

    // MARK: - Parts of losses

    private func drawn(
        _ pass: DistillationPass,
        _ batch: Rows,
        _ place: BatchPlace
    ) throws -> PassDraws {
        var shape = batch.latents.map(LatentShape.init(of:)) ?? options.shape
        shape.rows = batch.text.size(0)
        let generator = try draws.generator(for: pass, place)
        let steps = options.schedule.steps.count
        guard let rollout = options.rollout else {
            return try PassDraws(generator, shape, steps: steps)
        }
        let drawn = try RolloutDraws(
            generator,
            exits: draws.shared(for: pass, step: place.step),
            shape,
            framesPerBlock: options.framesPerBlock,
            steps: steps,
            rollout
        )
        return try PassDraws(drawn, generator, shape, numbersIn: numbers(after: drawn, rollout))
    }

    /// The limits of a score's number for a rollout.
    private func numbers(after drawn: RolloutDraws, _ rollout: RolloutOptions) -> Range<Int> {
        let limit = DistillationSchedule.trainingTimesteps
        guard rollout.sharesStep, let exit = drawn.exits.first else { return 0..<limit }
        let steps = options.schedule.steps
        let next = exit + 1 < steps.count ? options.schedule.place(of: steps[exit + 1]) : 0
        let lower = rollout.limitsScores ? next : 0
        let upper = rollout.limitsScoresAbove ? options.schedule.place(of: steps[exit]) : limit
        return lower..<max(lower + 1, upper)
    }

    private func predictor(
        _ role: String,
        _ form: NetworkForm,
        _ networks: Networks
    ) throws(SwanError) -> CleanPredictor {
        try CleanPredictor(
            networks.weights(role, options.precision),
            form,
            options.schedule.flow
        )
    }

    /// The generator's prediction p, for data with noise or for its own results.
    private func prediction(
        _ networks: Networks,
        _ batch: Rows,
        _ drawn: PassDraws
    ) throws -> Tensor {
        let generator = try predictor(Self.generator, parts.generator, networks)
        let text = try generator.text(batch.text)
        if let rollout = options.rollout, let drawn = drawn.rollout {
            let video = try Rollout(
                predictor: generator,
                text: text,
                schedule: options.schedule,
                options: rollout,
                learnedFrames: options.shape.frames
            )(drawn, on: generator.device)
            return try end(of: video)
        }
        let entries = try options.generatorTask.equalized(
            drawn.entries,
            framesPerBlock: options.framesPerBlock
        )
        let device = generator.device
        let input = try withoutGradients {
            guard let latents = batch.latents, !options.isSimulated else {
                return try GeneratorInput(
                    simulatedBy: generator,
                    text,
                    drawn,
                    entries: entries,
                    options.schedule,
                    on: device,
                    runsAll: options.sharesWeights
                )
            }
            return try GeneratorInput(
                from: latents.to(device),
                drawn,
                entries: entries,
                options.schedule
            )
        }
        return try generator(input.latents, timesteps: input.timesteps, text: text).clean
    }

    /// The frames of a video that scores see: the last ones, as a video of their own.
    private func end(of video: Tensor) throws -> Tensor {
        let (count, seen) = (video.size(2), options.shape.frames)
        guard count > seen, let firstFrame = parts.firstFrame else { return video }
        let first = try withoutGradients {
            try firstFrame(video.detached().narrowed(2, 0, count - seen + 1)).to(video.device)
        }
        return try concatenated(
            [first.to(video.dtype), video.narrowed(2, count - seen + 1, seen - 1)],
            dim: 2
        )
    }
}
