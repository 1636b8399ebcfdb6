import Synchronization

/// A wish, from any thread, that a job ends.
public final class Stop: Sendable {
    private let isWished = Mutex(false)

    /// Nobody wishes it yet.
    public init() {}

    /// Wishes it.
    public func request() { isWished.withLock { $0 = true } }

    /// Whether it is wished.
    public var isRequested: Bool { isWished.withLock { $0 } }

    /// Throws a `CancellationError` if it is wished.
    func check() throws { if isRequested { throw CancellationError() } }
}
