import Torch

/// Where and when a stage writes checkpoints, their metadata, and what is written beside them.
package struct CheckpointSaving {
    private let checkpoints: Checkpoints
    private let schedule: CheckpointSchedule
    private let metadata: [String: String]
    private let export: WeightExport?

    /// - Parameters:
    ///   - metadata: Text that is added to every checkpoint.
    ///   - export: Writes weights for other programs with every checkpoint.
    package init(
        _ checkpoints: Checkpoints,
        _ schedule: CheckpointSchedule,
        metadata: [String: String],
        export: WeightExport? = nil
    ) {
        self.checkpoints = checkpoints
        self.schedule = schedule
        self.metadata = metadata
        self.export = export
    }

    func newest(
        _ roles: [Role],
        on device: Device,
        _ plan: MicroBatchPlan
    ) throws -> TrainingState? {
        try checkpoints.newest(roles, on: device, plan)
    }

    func save(_ state: TrainingState, _ roles: [Role], _ plan: MicroBatchPlan) throws {
        // Before the checkpoint, so that a run that ends in between writes it again.
        try export?.write(state, plan)
        try checkpoints.save(state, roles, metadata: metadata, plan)
    }

    /// Whether a checkpoint is due after a step, in a run of `steps`, if the last one was written
    /// at `saved`.
    func isDue(after step: Int, of steps: Int, since saved: ContinuousClock.Instant) -> Bool {
        step % schedule.everySteps == 0
            || (.now - saved) / .seconds(60) > schedule.everyMinutes
            || step == steps
    }
}
