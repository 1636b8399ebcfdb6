import Synchronization

/// Asks a training run, from any thread, to end after the step at hand with a checkpoint.
public final class StopRequest: Sendable {
    private struct State {
        var isMade = false
        var hasUnsavedSteps = false
    }
    private let state = Mutex(State())

    /// Asks for nothing yet.
    public init() {}

    /// Whether it was made.
    public var isMade: Bool { state.withLock { $0.isMade } }

    /// Makes the request; false where no step was done since the last checkpoint, so that nothing is
    /// lost if the process just ends.
    @discardableResult
    public func make() -> Bool {
        state.withLock { state in
            state.isMade = true
            return state.hasUnsavedSteps
        }
    }

    /// Notes whether there are steps that no checkpoint has.
    func note(hasUnsavedSteps: Bool) {
        state.withLock { $0.hasUnsavedSteps = hasUnsavedSteps }
    }
}
