/// Why a schedule cannot be made or used.
public struct SchedulerError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The kind of failure, for a caller that acts on it.
    public enum Code: Sendable, Equatable {
        /// An option, or a list of steps, that no schedule can have.
        case invalidOption
    }

    /// The kind of failure.
    public let code: Code
    /// What was wrong, and what would be right.
    public let message: String

    init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    /// The message.
    public var description: String { message }
}
