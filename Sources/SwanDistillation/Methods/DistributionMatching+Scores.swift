import SwanSchedulers
import SwanSystem
import SwanTraining
import Torch

/// What scores say about a prediction of the generator.
extension DistributionMatching {
    /// The critic's loss for a prediction of the generator.
    func denoised(
        _ p: Tensor,
        _ critic: CleanPredictor,
        _ batch: Rows,
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

    /// The frames of a prediction that the generator learns from: all but the first block if that
    /// has a frame that it did not make.
    private func learned(_ p: Tensor, _ drawn: PassDraws) -> Range<Int> {
        let frames = p.size(2)
        let isEnd = (drawn.rollout?.noise.size(2) ?? frames) > frames
        return (isEnd ? options.framesPerBlock : 0)..<frames
    }

    func scoreTimesteps(
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
        _ batch: Rows,
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
        let frames = learned(p, drawn)
        let (seen, gradient) = try (
            p.narrowed(2, frames.lowerBound, frames.count),
            matching.gradient.narrowed(2, frames.lowerBound, frames.count)
        )
        let total = try (seen * gradient).sum() / Double(seen.count)
        let values = [
            "generator_loss": try MatchingGradient.loss(gradient),
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
