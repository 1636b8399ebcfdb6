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
    package struct Batch: Sendable {
        /// The embeddings of the prompts [B, T, textDim]; rows of zeros are padding.
        package let text: Tensor
        /// Clean latents [B, C, F, H, W].
        package let latents: Tensor?

        /// Creates a batch.
        package init(text: Tensor, latents: Tensor?) {
            self.text = text
            self.latents = latents
        }
    }

    /// The forms of the trained networks, and the teacher.
    package struct Parts: Sendable {
        package let generator, critic: NetworkForm
        /// The teacher: built once, in its own dtype, and in no checkpoint.
        package let real: CleanPredictor
        /// The embedding of the negative prompt [1, T, textDim].
        package let negative: Tensor

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
        let drawn = try drawn(pass, batch, place)
        let p = try prediction(networks, batch, drawn)
        let critic = try predictor(Self.critic, parts.critic, networks)
        return try judged(p, by: critic, batch, drawn)
    }

    /// The critic's loss on what the generator makes now, which is constant.
    package func criticLoss(
        _ batch: Batch,
        _ place: BatchPlace,
        _ networks: Networks,
        drawing pass: DistillationPass = .critic
    ) throws -> Explained {
        let drawn = try drawn(pass, batch, place)
        let p = try withoutGradients { try prediction(networks, batch, drawn) }
        return try denoised(p, predictor(Self.critic, parts.critic, networks), batch, drawn)
    }

    /// The critic's loss for a prediction of the generator.
    func denoised(
        _ p: Tensor,
        _ critic: CleanPredictor,
        _ batch: Batch,
        _ drawn: PassDraws
    ) throws -> Explained {
        let noise = try drawn.scoreNoise.to(p.device)
        let timesteps = try scoreTimesteps(drawn, options.fakeTask)
        let noisy = try options.schedule.flow.addNoise(p, noise, at: .frames(timesteps))
        let found = try critic(noisy, timesteps: timesteps, text: critic.text(batch.text))
        var sample = DenoisingLoss.Sample(clean: p, noise: noise)
        sample.predictedClean = found.clean
        sample.predictedFlow = found.flow
        let loss = try options.denoisingLoss(sample)
        return Explained(
            loss: Loss(total: loss, parts: ["critic_loss": loss]),
            latents: [
                "critictrain_latent": p, "critictrain_noisy_latent": noisy,
                "critictrain_pred_image": try found.clean.detached(),
            ],
            timesteps: timesteps
        )
    }

    // MARK: - Parts of losses

    private func drawn(
        _ pass: DistillationPass,
        _ batch: Batch,
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
        _ batch: Batch,
        _ drawn: PassDraws
    ) throws -> Tensor {
        let generator = try predictor(Self.generator, parts.generator, networks)
        let text = try generator.text(batch.text)
        if let rollout = options.rollout, let drawn = drawn.rollout {
            return try Rollout(
                predictor: generator,
                text: text,
                schedule: options.schedule,
                options: rollout
            )(drawn, on: generator.device)
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

    private func scoreTimesteps(
        _ drawn: PassDraws,
        _ task: TaskType
    ) throws(SwanError) -> [[Double]] {
        try task.equalized(drawn.numbers, framesPerBlock: options.framesPerBlock).map { row in
            row.map(options.schedule.scoreTimestep)
        }
    }

    /// The generator's loss for a prediction p.
    func judged(
        _ p: Tensor,
        by critic: CleanPredictor,
        _ batch: Batch,
        _ drawn: PassDraws
    ) throws -> Explained {
        let timesteps = try scoreTimesteps(drawn, options.realTask)
        let noise = try drawn.scoreNoise.to(p.device)
        func scores(_ p: Tensor) throws -> (noisy: Tensor, real: Tensor, fake: Tensor) {
            let noisy = try options.schedule.flow.addNoise(p, noise, at: .frames(timesteps))
            let fake = try score(critic, options.fakeGuidance, noisy, timesteps, batch.text)
            let real = try score(
                parts.real,
                options.realGuidance,
                noisy,
                timesteps,
                batch.text
            )
            return (noisy, real, fake)
        }
        if case .scoreIdentity(let alpha) = options.generatorLoss {
            let (noisy, real, fake) = try scores(p)
            let loss = try ScoreIdentity.loss(p, real: real, fake: fake, alpha: alpha)
            let value = try loss.detached()
            return try explained(
                Loss(total: loss, parts: ["generator_loss": value]),
                (p, noisy, real, fake),
                timesteps
            )
        }
        let constant = try p.detached()
        let (noisy, real, fake) = try withoutGradients { try scores(constant) }
        let matching = try MatchingGradient(constant, real: real, fake: fake)
        let total = try (p * matching.gradient).sum() / Double(p.count)
        let values = [
            "generator_loss": try matching.loss(),
            "dmdtrain_gradient_norm": try matching.gradient.abs().mean(),
        ]
        return try explained(
            Loss(total: total, parts: values),
            (constant, noisy, real, fake),
            timesteps
        )
    }

    private func explained(
        _ loss: Loss,
        _ found: (p: Tensor, noisy: Tensor, real: Tensor, fake: Tensor),
        _ timesteps: [[Double]]
    ) throws(SwanError) -> Explained {
        Explained(
            loss: loss,
            latents: [
                "dmdtrain_clean_latent": try found.p.detached(),
                "dmdtrain_noisy_latent": try found.noisy.detached(),
                "dmdtrain_pred_real_image": try found.real.detached(),
                "dmdtrain_pred_fake_image": try found.fake.detached(),
            ],
            timesteps: timesteps
        )
    }

    /// A network's prediction for noisy latents, with guidance if it has a weight.
    private func score(
        _ network: CleanPredictor,
        _ guidance: Double,
        _ noisy: Tensor,
        _ timesteps: [[Double]],
        _ text: Tensor
    ) throws(SwanError) -> Tensor {
        let conditional = try network(noisy, timesteps: timesteps, text: network.text(text)).clean
        guard guidance != 0 else { return conditional }
        let negative = try network.text(parts.negative)
        let unconditional = try network(noisy, timesteps: timesteps, text: negative).clean
        return try guided(conditional, unconditional, guidance)
    }
}
