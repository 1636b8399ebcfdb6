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
    let stop: CancellationFlag
    private let threads: Int
    private let record: StageRecord?
    let ranks: TrainingRanks?

    /// Creates a stage of `steps` steps.
    ///
    /// - Parameters:
    ///   - saving: Where and when to write checkpoints; nil keeps the state in memory only.
    ///   - device: The device of the networks.
    ///   - stop: Ends the stage early.
    ///   - threads: The number of micro-batches to compute concurrently.
    ///   - record: Where to record curves and sample sheets.
    ///   - ranks: The processes that run this stage together; nil for one. The first one records.
    package init(
        _ stage: String,
        steps: Int,
        method: M,
        saving: CheckpointSaving? = nil,
        device: Device = .cpu,
        stop: CancellationFlag = CancellationFlag(),
        threads: Int = 1,
        record: StageRecord? = nil,
        ranks: TrainingRanks? = nil
    ) {
        self.stage = stage
        self.steps = steps
        self.method = method
        self.saving = saving
        self.device = device
        self.stop = stop
        self.threads = threads
        self.record = record
        self.ranks = ranks
    }

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
        TrainingPhase.begin("\(stage): preparing the networks")
        let plan = try method.plan(ranks, stage: stage)
        var state =
            try saving?.newest(method.roles, on: device, plan) ?? begin(from: start, plan)
        let end = min(steps, killed ?? steps)
        // Also if no steps are left, so that what follows the stage computes as in an uninterrupted
        // run.
        TrainingThreads.share(threads, among: ranks == nil ? plan.parts : 1)
        let isStopped = try train(&state, to: end, plan, onProgress)
        try state.gatherAverages(plan)
        guard isStopped else { return state }
        throw SwanError(
            .interrupted,
            "stopped after step \(state.step) of \(steps), stage \(stage); --resume continues from there"
        )
    }

    /// Runs the steps up to `end`; returns whether it was stopped before, with a checkpoint.
    private func train(
        _ state: inout TrainingState,
        to end: Int,
        _ plan: MicroBatchPlan,
        _ onProgress: (TrainingProgress) -> Void
    ) throws -> Bool {
        guard state.step < end else { return false }
        TrainingPhase.begin("\(stage): steps from \(state.step + 1) of \(steps)")
        let batches = try prefetcher(state.step..<end, plan)
        defer { batches.cancel() }
        if plan.isFirst { try record?.begin(after: state.step) }
        defer { if plan.isFirst { record?.end() } }
        var report = ProgressReport(stage: stage, steps: steps)
        var saved = ContinuousClock.now
        var isSaved = true
        var isStopped = false
        // Ranks stop together, after a step that all have done.
        let immediate = ranks == nil ? stop : CancellationFlag()
        while !isStopped, state.step < end,
            let batch = try batches.next(plan.own.count, unless: immediate)
        {
            let numbers = try advance(&state, batch, plan)
            let isDue = saving?.isDue(after: state.step, of: steps, since: saved) ?? false
            let agreed = try agreed(numbers, isDue: isDue)
            isStopped = agreed.isStopped
            if plan.isFirst {
                report.add(agreed.numbers, main: trained.first.flatMap { numbers.updates[$0] })
                report.warn(of: skipped(numbers, before: state.step))
                record?.add(agreed.numbers, roles: trained)
                report.show(state.step, isLast: state.step == end, onProgress)
            }
            try write(state, plan)
            guard let saving else { continue }
            isSaved = agreed.isDue
            if isSaved {
                try saving.save(state, method.roles, plan)
                saved = .now
            }
            stop.note(hasUnsavedWork: !isSaved)
        }
        guard isStopped || ranks == nil && stop.isCancelled else { return false }
        if !isSaved { try saving?.save(state, method.roles, plan) }
        return true
    }

    /// Records what is due after a step.
    private func write(_ state: TrainingState, _ plan: MicroBatchPlan) throws {
        guard let record else { return }
        let (step, isLast) = (state.step, state.step == steps)
        guard let ranks, record.drawsSamples(after: step, isLast: isLast) else {
            guard plan.isFirst else { return }
            return try record.write(after: step, isLast: isLast) {
                try method.samples(state.averages, after: step)
            } measures: {
                try method.measures(state.averages)
            }
        }
        var whole = state
        try whole.gatherAverages(plan)
        let averages = whole.averages
        try ranks.alone {
            try record.write(after: step, isLast: isLast) {
                try method.samples(averages, after: step)
            } measures: {
                try method.measures(averages)
            }
        }
    }

    /// Creates the initial state and saves it immediately, because making it can take minutes.
    private func begin(
        from start: () throws -> [String: [String: Tensor]],
        _ plan: MicroBatchPlan
    ) throws -> TrainingState {
        let weights = try ranks?.shared(start) ?? start()
        var networks: [String: TrainedNetwork] = [:]
        for role in method.roles {
            guard let training = role.training else { continue }
            networks[role.name] = try TrainedNetwork(
                weights[role.name] ?? [:],
                on: device,
                sharedBy: plan.shards,
                learnsByMuon: training.learnsByMuon
            )
        }
        let state = TrainingState(networks)
        try saving?.save(state, method.roles, plan)
        return state
    }

    /// Makes this process's batches ahead.
    private func prefetcher(
        _ steps: Range<Int>,
        _ plan: MicroBatchPlan
    ) throws -> Prefetcher<M.Batch> {
        let count = plan.own.count
        return try Prefetcher(
            (steps.lowerBound * count)..<(steps.upperBound * count),
            ahead: 3 * count,
            threads: method.hasIndependentBatches ? device.dataThreads(besides: threads) : 1
        ) { [method] number in
            let part = plan.own[number % count]
            return try method.batch(BatchPlace(step: number / count, part: part, of: plan.parts))
        }
    }

    /// Runs the updates of a step in order.
    private func advance(
        _ state: inout TrainingState,
        _ batches: [M.Batch],
        _ plan: MicroBatchPlan
    ) throws -> StepNumbers {
        var numbers = StepNumbers(parts: plan.own)
        let places = plan.own.map { BatchPlace(step: state.step, part: $0, of: plan.parts) }
        for update in method.updates(at: state.step) {
            try apply(update, to: &state, Array(zip(batches, places)), plan, &numbers)
        }
        state.step += 1
        return numbers
    }

    private func apply(
        _ update: Update<M.Batch>,
        to state: inout TrainingState,
        _ batches: [(batch: M.Batch, place: BatchPlace)],
        _ plan: MicroBatchPlan,
        _ numbers: inout StepNumbers
    ) throws {
        guard let network = state.networks[update.role],
            let options = method.roles.first(where: { $0.name == update.role })?.training?.options
        else { throw SwanError(.invalidData, "\(stage): \(update.role) is not a trained role") }
        let stepThreads = device.stepThreads(of: threads)
        let pass = GradientPass(
            update: update,
            batches: batches,
            networks: try state.networks(updating: update.role),
            parameters: network.parameters,
            carry: state.carry,
            plan: plan
        )
        let result =
            ranks == nil
            ? try pass.concurrently(threads: stepThreads)
            : try pass.amongRanks(order: network.gradientOrder)
        let rate = options.learningRate(step: state.step, of: steps)
        let norm = try network.optimizer.update(
            network.parameters,
            result.gradients,
            number: network.updates + 1,
            rate: rate,
            options,
            threads: stepThreads,
            sharing: network.sharing
        )
        // All ranks have the same norm, so they skip the same updates.
        state.networks[update.role]?.skipped.add(isSkipped: !norm.isFinite)
        let skipped = state.networks[update.role]?.skipped ?? SkippedUpdates()
        numbers.updates[update.role] = .init(
            gradientNorm: norm,
            learningRate: rate,
            skipped: skipped.total
        )
        guard norm.isFinite else {
            guard skipped.inARow < SkippedUpdates.limit else {
                throw diverged(update.role, at: state.step)
            }
            // What the losses left for later updates may not be finite either.
            state.carry = [:]
            return
        }
        state.carry = result.carry
        state.networks[update.role]?.updates += 1
        if let ranks, network.gradientOrder == nil, let arrivals = result.arrivals {
            let first = try ranks.gathered(values: arrivals)[0]
            state.networks[update.role]?.gradientOrder =
                first + network.parameters.indices.filter { !first.contains($0) }
        }
        numbers.add(result.losses)
    }

    /// A warning about updates that a step has skipped; nil if it skipped none.
    private func skipped(_ numbers: StepNumbers, before step: Int) -> String? {
        let roles = numbers.updates.filter { !$0.value.gradientNorm.isFinite }.keys.sorted()
        guard !roles.isEmpty else { return nil }
        return "\(stage), step \(step): the gradients of \(roles.joined(separator: ", ")) are not "
            + "finite, so this update was skipped; the curve skipped_updates counts them, and "
            + "\(SkippedUpdates.limit) in a row end the run"
    }

    private func diverged(_ role: String, at step: Int) -> SwanError {
        let place = trained.count > 1 ? "\(stage), \(role), step \(step)" : "\(stage), step \(step)"
        return SwanError(
            .diverged,
            "\(place): the gradients of \(SkippedUpdates.limit) updates in a row are not finite; "
                + "start over in another folder with a lower learning rate or maximum norm of "
                + "gradients"
        )
    }
}
