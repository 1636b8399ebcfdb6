import Foundation
package import SwanThreads
package import Torch
import SwanSystem

/// One stage of training: updates the weights of a method's roles step by step and writes
/// checkpoints.
package struct TrainingLoop<M: Method> {
    private let stage: String
    private let steps: Int
    private let method: M
    private let saving: CheckpointSaving?
    private let device: Device
    private let stop: CancellationFlag
    private let threads: Int
    private let record: StageRecord?

    /// Creates a stage of `steps` steps.
    ///
    /// - Parameters:
    ///   - saving: Where and when to write checkpoints; nil keeps the state in memory only.
    ///   - device: The device of the networks.
    ///   - stop: Ends the stage early.
    ///   - threads: The number of micro-batches to compute concurrently.
    ///   - record: Where to record curves and sample sheets.
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

    /// Trains to the end, starting from the newest checkpoint or else from the weights of `start`;
    /// returns the final state.
    ///
    /// If cancelled, writes a checkpoint and throws an error.
    ///
    /// - Parameters:
    ///   - start: Makes the initial weights of the trained roles, by role and key.
    ///   - stoppingAt: Returns after this step without a checkpoint, as if the process had been
    ///     killed.
    package func run(
        from start: () throws -> [String: [String: Tensor]],
        stoppingAt killed: Int? = nil,
        onProgress: (TrainingProgress) -> Void
    ) throws -> TrainingState {
        var state = try saving?.newest(method.roles, on: device) ?? begin(from: start)
        let end = min(steps, killed ?? steps)
        // Also if no steps are left, so that what follows the stage computes as in an uninterrupted
        // run.
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
            "stopped after step \(state.step) of \(steps), stage \(stage); --resume continues from there"
        )
    }

    /// Creates the initial state and saves it immediately, because making it can take minutes.
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

    /// Runs the updates of a step in order.
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
        else { throw SwanError(.invalidData, "\(stage): \(update.role) is not a trained role") }
        let networks = try state.networks(updating: update.role)
        let stepThreads = device.stepThreads(of: threads)
        let results = try concurrentMap(parts, threads: stepThreads) {
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
            "\(place): the gradients are not finite; start over in another "
                + "folder with a lower learning_rate or maximum_gradient_norm"
        )
    }
}

/// Where and when a stage writes checkpoints, and their metadata.
package struct CheckpointSaving {
    private let checkpoints: Checkpoints
    private let schedule: CheckpointSchedule
    private let metadata: [String: String]

    /// - Parameter metadata: Text that is added to every checkpoint.
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

    /// Whether a checkpoint is due after a step, in a run of `steps`, if the last one was written
    /// at `saved`.
    func isDue(after step: Int, of steps: Int, since saved: ContinuousClock.Instant) -> Bool {
        step % schedule.everySteps == 0
            || (.now - saved) / .seconds(60) > schedule.everyMinutes
            || step == steps
    }
}
