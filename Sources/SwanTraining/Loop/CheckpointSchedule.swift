/// When checkpoints are written and how many are kept.
package struct CheckpointSchedule: Codable, Sendable, Equatable {
    /// The number of steps between checkpoints.
    package var everySteps: Int
    /// The maximum number of minutes between checkpoints.
    package var everyMinutes: Double
    /// The number of checkpoints to keep for each stage.
    package var kept: Int

    /// Creates a schedule.
    package init(everySteps: Int, everyMinutes: Double, kept: Int) {
        self.everySteps = everySteps
        self.everyMinutes = everyMinutes
        self.kept = kept
    }

    private enum CodingKeys: String, CodingKey {
        case everySteps = "every_steps", everyMinutes = "every_minutes", kept
    }
}
