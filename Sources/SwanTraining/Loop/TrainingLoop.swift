import Foundation
package import SwanThreads
package import Torch
import SwanSystem

/// One stage of training: batches in, the weights of a method's roles changed step by step, checkpoints on
/// the way.
package struct TrainingLoop<M: Method> {
    private let stage: String
    private let steps: Int
    private let method: M
    private let saving: CheckpointSaving?
    private let device: Device
    private let stop: CancellationFlag
    private let threads: Int
    private let record: StageRecord?

    /// A stage of `steps` steps.
    ///
    /// - Parameters:
    ///   - saving: where its checkpoints go; nil keeps its state in memory alone.
    ///   - device: where the networks are.
    ///   - stop: ends it early.
    ///   - threads: micro-batches that are worked on at a time.
    ///   - record: what people watch it by.
    package init(
        _ stage: String,
        steps: Int,
        method: M,
        saving: CheckpointSaving? = nil,
        device: Device = .cpu,
        stop: CancellationFlag = CancellationFlag(),
        threads: Int = 1,
        record: StageRecord? = nil
    ) {
        self.stage = stage
        self.steps = steps
        self.method = method
        self.saving = saving
        self.device = device
        self.stop = stop
        self.threads = threads
        self.record = record
    }

    private var parts: Int { method.microBatches }
    private var trained: [String] { method.roles.filter { $0.training != nil }.map(\.name) }

    /// Trains from the newest checkpoint, or from the weights of `start`, to the end; returns the
    /// last state.
    ///
    /// A cancellation ends it with a checkpoint and an error.
    ///
    /// - Parameters:
    ///   - start: makes the first weights of the trained roles, by role and key.
    ///   - stoppingAt: ends after that step as if the process had been killed there, without a
    ///     checkpoint.
    package func run(
        from start: () throws -> [String: [String: Tensor]],
        stoppingAt killed: Int? = nil,
        onProgress: (TrainingProgress) -> Void
    ) throws -> TrainingState {
        var state = try saving?.newest(method.roles, on: device) ?? begin(from: start)
        let end = min(steps, killed ?? steps)
        // Also where no step is left: what comes after the stage computes as in a run without a break.
        TrainingThreads.share(threads, among: parts)
        guard state.step < end else { return state }
        let batches = try prefetcher(state.step..<end)
        defer { batches.cancel() }
        try record?.begin(after: state.step)
        defer { record?.end() }
        var report = ProgressReport(stage: stage, steps: steps)
        var saved = ContinuousClock.now
        var isSaved = true
        while state.step < end, let batch = try batches.next(parts, unless: stop) {
            let numbers = try advance(&state, batch)
            report.add(numbers, main: trained.first.flatMap { numbers.updates[$0] })
            record?.add(numbers, roles: trained)
            report.show(state.step, isLast: state.step == end, onProgress)
            try record?.write(after: state.step, isLast: state.step == steps) {
                try method.samples(state.averages)
            }
            guard let saving else { continue }
            isSaved = saving.isDue(after: state.step, of: steps, since: saved)
            if isSaved {
                try saving.save(state, method.roles)
                saved = .now
            }
            stop.note(hasUnsavedWork: !isSaved)
        }
        guard stop.isCancelled else { return state }
        if !isSaved { try saving?.save(state, method.roles) }
        throw SwanError(
            .interrupted,
            "stopped after step \(state.step) of \(steps), stage \(stage); --resume goes on from there"
        )
    }

    /// The first state, kept at once: to make it may have taken minutes.
    private func begin(
        from start: () throws -> [String: [String: Tensor]]
    ) throws -> TrainingState {
        let weights = try start()
        var networks: [String: TrainedNetwork] = [:]
        for role in method.roles {
            guard let training = role.training else { continue }
            networks[role.name] = try TrainedNetwork(
                weights[role.name] ?? [:],
                on: device,
                learnsByMuon: training.learnsByMuon
            )
        }
        let state = TrainingState(networks)
        try saving?.save(state, method.roles)
        return state
    }

    private func prefetcher(_ steps: Range<Int>) throws -> Prefetcher<M.Batch> {
        try Prefetcher(
            (steps.lowerBound * parts)..<(steps.upperBound * parts),
            ahead: 3 * parts,
            threads: method.hasIndependentBatches ? device.dataThreads(besides: threads) : 1
        ) { [method, parts] number in
            try method.batch(BatchPlace(number: number, parts: parts))
        }
    }

    /// Does the updates of a step one after the other.
    private func advance(
        _ state: inout TrainingState,
        _ batches: [M.Batch]
    ) throws -> StepNumbers {
        var numbers = StepNumbers()
        for update in method.updates(at: state.step) {
            try apply(update, to: &state, batches, &numbers)
        }
        state.step += 1
        return numbers
    }

    private func apply(
        _ update: Update<M.Batch>,
        to state: inout TrainingState,
        _ batches: [M.Batch],
        _ numbers: inout StepNumbers
    ) throws {
        guard let network = state.networks[update.role],
            let options = method.roles.first(where: { $0.name == update.role })?.training?.options
        else { throw SwanError(.invalidData, "\(stage): no trained role is \(update.role)") }
        let networks = try state.networks(updating: update.role)
        let stepThreads = device.stepThreads(of: threads)
        let results = try SideBySide.map(parts, threads: stepThreads) {
            [parts, step = state.step, carry = state.carry] part in
            try MicroBatch(
                update,
                batches[part],
                BatchPlace(step: step, part: part, of: parts),
                networks,
                network.parameters,
                carry
            )
        }
        state.carry = results.reduce(into: [:]) { $0.merge($1.carry) { first, _ in first } }
        let rate = options.learningRate(step: state.step, of: steps)
        let norm = try network.optimizer.update(
            network.parameters,
            Optimizer.mean(results.map(\.gradients)),
            number: network.updates + 1,
            rate: rate,
            options,
            threads: stepThreads
        )
        guard norm.isFinite else { throw diverged(update.role, at: state.step) }
        state.networks[update.role]?.updates += 1
        numbers.losses.merge(try MicroBatch.losses(of: results)) { _, last in last }
        numbers.updates[update.role] = .init(gradientNorm: norm, learningRate: rate)
    }

    private func diverged(_ role: String, at step: Int) -> SwanError {
        let place = trained.count > 1 ? "\(stage), \(role), step \(step)" : "\(stage), step \(step)"
        return SwanError(
            .diverged,
            "\(place): the gradients are not finite; begin again in another "
                + "folder with a lower learning_rate or maximum_gradient_norm"
        )
    }
}

/// Where a stage's checkpoints go, when they are written, and the text in them.
package struct CheckpointSaving {
    private let checkpoints: Checkpoints
    private let schedule: CheckpointSchedule
    private let metadata: [String: String]

    /// - Parameter metadata: text that goes into every checkpoint.
    package init(
        _ checkpoints: Checkpoints,
        _ schedule: CheckpointSchedule,
        metadata: [String: String]
    ) {
        self.checkpoints = checkpoints
        self.schedule = schedule
        self.metadata = metadata
    }

    func newest(_ roles: [Role], on device: Device) throws -> TrainingState? {
        try checkpoints.newest(roles, on: device)
    }

    func save(_ state: TrainingState, _ roles: [Role]) throws {
        try checkpoints.save(state, roles, metadata: metadata)
    }

    /// Whether a checkpoint is due after a step, of `steps` in all, when the last one was written at `saved`.
    func isDue(after step: Int, of steps: Int, since saved: ContinuousClock.Instant) -> Bool {
        step % schedule.everySteps == 0
            || (.now - saved) / .seconds(60) > schedule.everyMinutes
            || step == steps
    }
}
