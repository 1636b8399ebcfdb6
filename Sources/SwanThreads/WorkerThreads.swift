import Foundation
package import SwanSystem

/// Threads of one job, which waits for them, and the first error of one.
///
/// Its lock is one that ThreadSanitizer sees: it takes Swift's `Mutex` for none.
package final class WorkerThreads: @unchecked Sendable {
    private let group = DispatchGroup()
    private let lock = NSLock()
    // Touched while `lock` is held.
    private var error: (any Error)?

    /// No threads.
    package init() {}

    /// What the first thread to fail has thrown.
    package var failure: (any Error)? { lock.withLock { error } }

    /// Starts a thread, or throws where the system has none to give.
    ///
    /// - Parameter atEnd: called when `work` has ended and its error is known.
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

    /// Waits until all threads have ended.
    package func wait() { group.wait() }
}
