import Foundation
package import SwanSystem

/// The threads of one job, with a way to wait for all of them and the first error thrown by any.
///
/// Uses `NSLock`, because ThreadSanitizer does not recognize Swift's `Mutex` as a lock.
package final class WorkerThreads: @unchecked Sendable {
    private let group = DispatchGroup()
    private let lock = NSLock()
    // Protected by `lock`.
    private var error: (any Error)?

    /// Creates a group without threads.
    package init() {}

    /// The error of the first thread that failed.
    package var failure: (any Error)? { lock.withLock { error } }

    /// Starts a thread; throws if the system cannot create one.
    ///
    /// - Parameter atEnd: Called when `work` has ended and its error has been recorded.
    package func start(
        _ name: String,
        atEnd: @escaping @Sendable () -> Void = {},
        _ work: @escaping @Sendable () throws -> Void
    ) throws(SwanError) {
        group.enter()
        do throws(SwanError) {
            try startThread(name) { [self] in
                defer { group.leave() }
                do {
                    try work()
                } catch let thrown {
                    lock.withLock { if error == nil { error = thrown } }
                }
                atEnd()
            }
        } catch {
            group.leave()
            throw error
        }
    }

    /// Blocks until all threads have ended.
    package func wait() { group.wait() }
}
