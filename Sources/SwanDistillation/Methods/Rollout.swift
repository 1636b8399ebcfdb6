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
    /// The most frames of a video, of which scores see the last ones; nil for as many as they see.
    package var mostFrames: Int?
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
    /// - Parameters:
    ///   - exits: The generator of the number of blocks and of the steps at which they end, which
    ///     ranks must share.
    ///   - shape: The shape of the shortest video, which scores see.
    package init(
        _ generator: Generator,
        exits shared: Generator,
        _ shape: LatentShape,
        framesPerBlock: Int,
        steps: Int,
        _ options: RolloutOptions
    ) throws(SwanError) {
        let least = shape.frames / framesPerBlock
        let most = max(least, (options.mostFrames ?? shape.frames) / framesPerBlock)
        let count = try Tensor.randint(least..<most + 1, [1], shared).array(of: Int.self)[0]
        var whole = shape
        whole.frames = count * framesPerBlock
        noise = try PassDraws.noise(generator, whole)
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
    /// The last frames, whose blocks have gradients; nil for all.
    var learnedFrames: Int?

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
            let isConstant = frames.lowerBound < noise.size(2) - (learnedFrames ?? noise.size(2))
            let last = { () throws(SwanError) in
                try predictor.block(index, input, timestep: timestep, text, past)
            }
            let clean = try isConstant ? withoutGradients(last) : last()
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
