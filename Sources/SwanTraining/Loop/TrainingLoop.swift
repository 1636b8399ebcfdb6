import Foundation
import Torch

/// One stage of training: batches in, weights changed step by step, checkpoints on the way.
struct TrainingLoop<Goal: Objective> {
    let stage: String
    let steps: Int
    let objective: Goal
    let options: OptimizerOptions
    let checkpoints: Checkpoints
    let checkpointOptions: CheckpointOptions
    /// Text that goes into every checkpoint.
    let metadata: [String: String]
    /// What people watch it by.
    var record: StageRecord?

    /// Trains from the newest checkpoint, or from the weights of `start`, to the end; returns the
    /// last state.
    ///
    /// - Parameter stoppingAt: ends after that step as if the process had been killed there, with no
    ///   checkpoint of its own.
    func run(
        from start: () throws -> [String: Tensor],
        stoppingAt stop: Int? = nil,
        onProgress: (TrainingProgress) -> Void
    ) throws -> TrainingState {
        var state = try checkpoints.newest() ?? TrainingState(start())
        let end = min(steps, stop ?? steps)
        guard state.step < end else { return state }
        let batches = Prefetcher(state.step..<end, ahead: 3) { [objective] step in
            try objective.batch(step: step)
        }
        defer { batches.cancel() }
        try record?.begin(after: state.step)
        var report = Report(stage: stage, steps: steps)
        var saved = Date()
        while state.step < end, let batch = try batches.next() {
            try advance(&state, batch, &report)
            report.show(state.step, isLast: state.step == end, onProgress)
            try record?.write(after: state.step, isLast: state.step == steps) {
                try objective.sample(state.averages)
            }
            let isDue =
                state.step % checkpointOptions.everySteps == 0
                || Date().timeIntervalSince(saved) > checkpointOptions.everyMinutes * 60
                || state.step == steps
            if isDue {
                try checkpoints.save(state, metadata: metadata)
                saved = Date()
            }
        }
        return state
    }

    private func advance(
        _ state: inout TrainingState,
        _ batch: Goal.Batch,
        _ report: inout Report
    ) throws {
        let loss = try objective.loss(
            batch,
            step: state.step,
            state.weights,
            carry: &state.carry
        )
        let found = try gradients(of: loss.total, for: state.parameters)
        let gradients = try zip(found, state.parameters).map { gradient, parameter in
            try gradient ?? parameter.detached().zerosLike()
        }
        let norm = try state.optimizer.update(
            state.parameters,
            gradients,
            step: state.step,
            of: steps,
            options
        )
        guard norm.isFinite else {
            throw TrainingError(
                .diverged,
                "\(stage), step \(state.step): the gradients are not finite; lower learning_rate or "
                    + "maximum_gradient_norm and resume"
            )
        }
        let rate = options.learningRate(step: state.step, of: steps)
        report.add(loss.parts, norm: norm, rate: rate)
        record?.add(loss.parts, gradientNorm: norm, learningRate: rate)
        state.step += 1
    }
}

/// When checkpoints are written and how many stay.
public struct CheckpointOptions: Codable, Sendable, Equatable {
    /// A checkpoint whenever this many steps are done.
    public var everySteps: Int
    /// And whenever this many minutes have passed since the last one.
    public var everyMinutes: Double
    /// Checkpoints of a stage that stay.
    public var kept: Int

    private enum CodingKeys: String, CodingKey {
        case everySteps = "every_steps", everyMinutes = "every_minutes", kept
    }
}

/// Averages since the last report.
private struct Report {
    let stage: String
    let steps: Int
    private var losses = RunningMeans()
    private var norm = 0.0
    private var rate = 0.0
    private var count = 0
    private var since = Date()

    init(stage: String, steps: Int) {
        self.stage = stage
        self.steps = steps
    }

    mutating func add(_ parts: [String: Double], norm: Double, rate: Double) {
        losses.add(parts)
        self.norm = norm
        self.rate = rate
        count += 1
    }

    /// Reports at most every other second, and the last step.
    mutating func show(_ step: Int, isLast: Bool, _ onProgress: (TrainingProgress) -> Void) {
        let seconds = Date().timeIntervalSince(since)
        guard seconds > 2 || isLast, count > 0 else { return }
        onProgress(
            TrainingProgress(
                stage: stage,
                step: step,
                steps: steps,
                losses: losses.take(),
                gradientNorm: norm,
                learningRate: rate,
                secondsPerStep: seconds / Double(count)
            )
        )
        count = 0
        since = Date()
    }
}
