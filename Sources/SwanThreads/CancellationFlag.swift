import Foundation

/// A thread-safe flag that asks a job to end early.
public final class CancellationFlag: @unchecked Sendable {
    // `lock` protects everything below.
    private let lock = NSLock()
    private var isSet = false
    private var hasUnsavedWork = false

    /// Creates a flag that is not set.
    public init() {}

    /// Whether the job has been asked to end.
    public var isCancelled: Bool { lock.withLock { isSet } }

    /// Asks the job to end.
    ///
    /// - Returns: Whether the job has unsaved work that it will save before it ends. If false, the
    ///   process can exit immediately without losing anything.
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

    /// Records whether the job has unsaved work that it will save before it ends.
    package func note(hasUnsavedWork: Bool) {
        lock.withLock { self.hasUnsavedWork = hasUnsavedWork }
    }
}
