/// When checkpoints are written and how many stay.
public struct CheckpointSchedule: Codable, Sendable, Equatable {
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
