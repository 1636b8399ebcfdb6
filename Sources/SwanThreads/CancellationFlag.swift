import Foundation

/// Asks a job, from any thread, to end early.
public final class CancellationFlag: @unchecked Sendable {
    // `lock` guards all that follows.
    private let lock = NSLock()
    private var isSet = false
    private var hasUnsavedWork = false

    /// A flag that is not set.
    public init() {}

    /// Whether the job has been asked to end.
    public var isCancelled: Bool { lock.withLock { isSet } }

    /// Asks the job to end.
    ///
    /// - Returns: whether the job has work that it saves before it ends; if not, nothing is lost when
    ///   the process ends at once.
    @discardableResult
    public func cancel() -> Bool {
        lock.withLock {
            isSet = true
            return hasUnsavedWork
        }
    }

    /// Throws a `CancellationError` if the job has been asked to end.
    package func check() throws(CancellationError) {
        if isCancelled { throw CancellationError() }
    }

    /// Notes whether the job has work that it saves before it ends.
    package func note(hasUnsavedWork: Bool) {
        lock.withLock { self.hasUnsavedWork = hasUnsavedWork }
    }
}
