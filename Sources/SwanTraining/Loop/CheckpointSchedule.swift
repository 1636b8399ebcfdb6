/// When checkpoints are written and how many are kept.
public struct CheckpointSchedule: Codable, Sendable, Equatable {
    /// The number of steps between checkpoints.
    public var everySteps: Int
    /// The maximum number of minutes between checkpoints.
    public var everyMinutes: Double
    /// The number of checkpoints to keep for each stage.
    public var kept: Int

    private enum CodingKeys: String, CodingKey {
        case everySteps = "every_steps", everyMinutes = "every_minutes", kept
    }
}
