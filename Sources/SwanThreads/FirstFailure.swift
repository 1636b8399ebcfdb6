import Foundation

/// The first error of several threads and tasks.
///
/// Uses `NSLock`, because ThreadSanitizer does not recognize Swift's `Mutex` as a lock.
package final class FirstFailure: @unchecked Sendable {
    private let lock = NSLock()
    // Protected by `lock`.
    private var first: (any Error)?

    /// Creates an instance without an error.
    package init() {}

    /// The first error; nil if there is none.
    package var error: (any Error)? { lock.withLock { first } }

    /// Records an error, unless there is one already.
    package func note(_ error: any Error) {
        lock.withLock { if first == nil { first = error } }
    }
}
