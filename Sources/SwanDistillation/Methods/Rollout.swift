import SwanModels
import SwanSchedulers
package import SwanSystem
package import Torch
import TorchNN

/// How a causal generator makes a video in training, block by block, as it does in a stream.
///
/// Self-Forcing, https://arxiv.org/abs/2506.08009, algorithm 1.
package struct RolloutOptions: Sendable, Equatable {
    /// Whether all blocks of a video end at the same step.
    package var sharesStep = false
    /// Whether blocks end at the last step, instead of one that is drawn.
    package var lastStepOnly = false
    /// The timestep of the noise on a block before its keys are kept for later ones.
    package var contextNoise = 0.0
    /// Whether a score's timestep is at least the noise level after the last step, and below that
    /// of the step itself, if blocks share it.
    package var limitsScores = false
    package var limitsScoresAbove = false
    /// Whether also a block without context noise gets the little noise of the table's last entry,
    /// as published.
    package var isParity = false

    /// Creates the usual options.
    package init() {}
}

/// The random numbers of a rollout.
package struct RolloutDraws: Sendable {
    /// The noise that the video is made from [B, C, F, H, W].
    package let noise: Tensor
    /// The step at which each block ends.
    package let exits: [Int]
    /// For each block, the noise between its steps [B, C, f, H, W].
    package let between: [[Tensor]]
    /// The noise of each block's context.
    package let context: [Tensor]

    /// Draws in the reference's order.
    ///
    /// - Parameter exits: The generator of the steps at which blocks end, which ranks must share.
    package init(
        _ generator: Generator,
        exits shared: Generator,
        _ shape: LatentShape,
        framesPerBlock: Int,
        steps: Int,
        _ options: RolloutOptions
    ) throws(SwanError) {
        noise = try PassDraws.noise(generator, shape)
        let count = shape.frames / framesPerBlock
        let drawn = try Tensor.randint(0..<steps, [count], shared).array(of: Int.self)
        exits = drawn.map { exit in
            options.lastStepOnly ? steps - 1 : options.sharesStep ? drawn[0] : exit
        }
        var block = shape
        block.frames = framesPerBlock
        var between: [[Tensor]] = []
        var context: [Tensor] = []
        for exit in exits {
            between.append(
                try (0..<exit).map { _ throws(SwanError) in try PassDraws.noise(generator, block) }
            )
            context.append(try PassDraws.noise(generator, block))
        }
        self.between = between
        self.context = context
    }
}

/// Makes a video with a causal network.
struct Rollout {
    let predictor: CleanPredictor
    let text: TextConditioning
    let schedule: DistillationSchedule
    let options: RolloutOptions

    /// The prediction of each block at its last step [B, C, F, H, W], with gradients for that step
    /// alone: earlier steps and blocks are constants.
    func callAsFunction(_ draws: RolloutDraws, on device: Device) throws(SwanError) -> Tensor {
        let noise = try draws.noise.to(device)
        var past = try predictor.past(of: noise)
        var blocks: [Tensor] = []
        for (index, frames) in try predictor.blocks(of: noise).enumerated() {
            let input = try withoutGradients { () throws(SwanError) in
                try self.input(
                    noise.narrowed(2, frames.lowerBound, frames.count),
                    draws.between[index].map { noise throws(SwanError) in try noise.to(device) },
                    index,
                    past
                )
            }
            let timestep = schedule.steps[draws.exits[index]]
            let clean = try predictor.block(index, input, timestep: timestep, text, past)
            blocks.append(clean)
            try withoutGradients { () throws(SwanError) in
                let context = try context(clean.detached(), draws.context[index].to(device))
                try predictor.keep(index, context, timestep: options.contextNoise, text, in: &past)
            }
        }
        return try concatenated(blocks, dim: 2)
    }

    /// What a block's last step gets: the results of the steps before, each with noise again.
    private func input(
        _ noise: Tensor,
        _ between: [Tensor],
        _ index: Int,
        _ past: PastKeys
    ) throws(SwanError) -> Tensor {
        var x = noise
        for (step, noise) in between.enumerated() {
            let clean = try predictor.block(
                index,
                x,
                timestep: schedule.steps[step],
                text,
                past
            )
            x = try schedule.flow.addNoise(clean, noise, at: .all(schedule.steps[step + 1]))
        }
        return x
    }

    /// A block as later ones see it.
    private func context(_ clean: Tensor, _ noise: Tensor) throws(SwanError) -> Tensor {
        guard options.contextNoise > 0 || options.isParity else { return clean }
        return try schedule.flow.addNoise(clean, noise, at: .all(options.contextNoise))
    }
}
