import Foundation
import SwanThreads
import Torch

/// One stage of training: batches in, weights changed step by step, checkpoints on the way.
struct TrainingLoop<Goal: Objective> {
    let stage: String
    let steps: Int
    let objective: Goal
    let options: OptimizerOptions
    let checkpoints: Checkpoints
    let checkpointOptions: CheckpointSchedule
    /// Text that goes into every checkpoint.
    let metadata: [String: String]
    /// Where the network is.
    var device = Device.cpu
    /// What ends it early.
    var stop = CancellationFlag()
    /// Micro-batches that are worked on at a time.
    var threads = 1
    /// What people watch it by.
    var record: StageRecord?

    private var parts: Int { options.microBatches ?? 1 }

    /// Trains from the newest checkpoint, or from the weights of `start`, to the end; returns the
    /// last state.
    ///
    /// A cancellation ends it with a checkpoint and an error.
    ///
    /// - Parameter stoppingAt: ends after that step as if the process had been killed there, with no
    ///   checkpoint of its own.
    func run(
        from start: () throws -> [String: Tensor],
        stoppingAt killed: Int? = nil,
        onProgress: (TrainingProgress) -> Void
    ) throws -> TrainingState {
        var state = try checkpoints.newest(on: device) ?? begin(from: start)
        let end = min(steps, killed ?? steps)
        guard state.step < end else { return state }
        Engine.threads = max(1, threads / parts)
        let numbers = (state.step * parts)..<(end * parts)
        let batches = try Prefetcher(
            numbers,
            ahead: 3 * parts,
            threads: objective.hasIndependentBatches ? device.dataThreads(besides: threads) : 1
        ) { [objective, parts] number in
            try objective.batch(BatchPlace(number: number, parts: parts))
        }
        defer { batches.cancel() }
        try record?.begin(after: state.step)
        defer { record?.end() }
        var report = ProgressReport(stage: stage, steps: steps)
        var saved = ContinuousClock.now
        var isSaved = true
        while state.step < end, let batch = try batches.next(parts, unless: stop) {
            try advance(&state, batch, &report)
            report.show(state.step, isLast: state.step == end, onProgress)
            try record?.write(after: state.step, isLast: state.step == steps) {
                try objective.sample(state.averages)
            }
            let isDue =
                state.step % checkpointOptions.everySteps == 0
                || (.now - saved) / .seconds(60) > checkpointOptions.everyMinutes
                || state.step == steps
            if isDue {
                try checkpoints.save(state, metadata: metadata)
                saved = .now
            }
            isSaved = isDue
            stop.note(hasUnsavedWork: !isSaved)
        }
        guard stop.isCancelled else { return state }
        if !isSaved { try checkpoints.save(state, metadata: metadata) }
        throw TrainingError(
            .interrupted,
            "stopped after step \(state.step) of \(steps), stage \(stage); --resume goes on from there"
        )
    }

    /// The first state, kept at once: to make it may have taken minutes.
    private func begin(from start: () throws -> [String: Tensor]) throws -> TrainingState {
        let state = try TrainingState(start(), on: device) { key, shape in
            options.muon ?? false && objective.isHiddenMatrix(key, shape)
        }
        try checkpoints.save(state, metadata: metadata)
        return state
    }

    private func advance(
        _ state: inout TrainingState,
        _ batches: [Goal.Batch],
        _ report: inout ProgressReport
    ) throws {
        let results = try SideBySide.map(parts, threads: device.stepThreads(of: threads)) {
            [objective, state, parts] part in
            try MicroBatch(
                objective,
                batches[part],
                BatchPlace(step: state.step, part: part, of: parts),
                state
            )
        }
        state.carry = results.reduce(into: [:]) { $0.merge($1.carry) { first, _ in first } }
        let gradients = try Optimizer.mean(results.map(\.gradients))
        let norm = try state.optimizer.update(
            state.parameters,
            gradients,
            step: state.step,
            of: steps,
            options,
            threads: device.stepThreads(of: threads)
        )
        guard norm.isFinite else {
            throw TrainingError(
                .diverged,
                "\(stage), step \(state.step): the gradients are not finite; begin again in another "
                    + "folder with a lower learning_rate or maximum_gradient_norm"
            )
        }
        let losses = try MicroBatch.losses(of: results)
        let rate = options.learningRate(step: state.step, of: steps)
        report.add(losses, norm: norm, rate: rate)
        record?.add(losses, gradientNorm: norm, learningRate: rate)
        state.step += 1
    }
}

/// What one micro-batch gives.
private struct MicroBatch: Sendable {
    /// One for each parameter.
    let gradients: [Tensor]
    private let losses: [String: Tensor]
    /// What it leaves for the next step, under names of its own.
    let carry: [String: Tensor]

    init<Goal: Objective>(
        _ objective: Goal,
        _ batch: Goal.Batch,
        _ place: BatchPlace,
        _ state: TrainingState
    ) throws {
        let prefix = "\(place.part)/"
        var carry: [String: Tensor] = [:]
        for (key, tensor) in state.carry where key.hasPrefix(prefix) {
            carry[String(key.dropFirst(prefix.count))] = tensor
        }
        let loss = try objective.loss(batch, place, state.weights, carry: &carry)
        let found = try Torch.gradients(of: loss.total, for: state.parameters)
        gradients = try zip(found, state.parameters).map { gradient, parameter in
            try gradient ?? parameter.detached().zerosLike()
        }
        losses = try loss.parts.mapValues { try $0.detached() }
        self.carry = Dictionary(
            uniqueKeysWithValues: carry.map { (prefix + $0.key, $0.value) }
        )
    }

    /// The mean of each loss.
    static func losses(of batches: [MicroBatch]) throws -> [String: Double] {
        let sums = try batches.reduce(into: [:]) {
            $0.merge(try $1.losses.mapValues { try $0.item() }, uniquingKeysWith: +)
        }
        return sums.mapValues { $0 / Double(batches.count) }
    }
}
