import Foundation
import SwanSystem

/// Three stages of a stream, each on a thread, with at most one chunk waiting between two of them.
///
/// The first makes chunks, the second turns each into none or several others, the third is the caller's.
/// However it ends (nothing more comes, a stage throws, the caller wants no more), no thread outlives
/// the call.
package struct SideBySideStages<Made: Sendable, Finished: Sendable>: Sendable {
    /// Makes chunks and puts each on, until there are no more or none is wanted, which `put` says by
    /// false.
    package typealias Produce = @Sendable (_ put: (Made) -> Bool) throws -> Void

    private let names: (String, String)
    private let produce: Produce
    private let transform: @Sendable (Made) throws -> [Finished]
    private let drain: @Sendable () throws -> [Finished]
    private let chunkIsDone: @Sendable () -> Void

    /// - Parameters:
    ///   - names: of the two threads, for debuggers.
    ///   - produce: the first stage; called once, on a thread of its own.
    ///   - transform: the second stage; called with each chunk, on a thread of its own.
    ///   - drain: what is still on its way through the second stage at the end; called on its thread.
    ///   - chunkIsDone: called on the thread of the first or second stage when a chunk is through it.
    package init(
        names: (String, String),
        produce: @escaping Produce,
        transform: @escaping @Sendable (Made) throws -> [Finished],
        drain: @escaping @Sendable () throws -> [Finished],
        chunkIsDone: @escaping @Sendable () -> Void = {}
    ) {
        self.names = names
        self.produce = produce
        self.transform = transform
        self.drain = drain
        self.chunkIsDone = chunkIsDone
    }

    /// Runs the stages to their end; throws what the first stage to fail has thrown.
    ///
    /// - Parameters:
    ///   - isStopped: asked at the end of the first stage whether chunks on their way are to be dropped.
    ///   - cancel: called when no more chunks are wanted; has `produce` return if it waits.
    ///   - take: the third stage; called with each chunk, on this thread. False ends the stream.
    package func run(
        isStopped: @escaping @Sendable () -> Bool,
        cancel: () -> Void,
        take: (Finished) throws -> Bool
    ) throws {
        let made = BoundedQueue<Made>(capacity: 1)
        let finished = BoundedQueue<Finished>(capacity: 1)
        let workers = Workers()
        defer {
            made.close(dropping: true)
            finished.close(dropping: true)
            cancel()
            workers.wait()
        }
        try workers.start(names.0, atEnd: { made.close() }) { [produce, chunkIsDone] in
            try produce { chunk in
                chunkIsDone()
                return made.put(chunk)
            }
        }
        try workers.start(names.1, atEnd: { finished.close() }) { [self] in
            while let chunk = made.take() {
                for result in try transform(chunk) where !finished.put(result) { return }
                chunkIsDone()
            }
            guard !isStopped(), workers.failure == nil else { return }
            for result in try drain() where !finished.put(result) { return }
        }
        while let chunk = finished.take() {
            guard try take(chunk) else { return }
        }
        if let failure = workers.failure { throw failure }
    }
}

/// Threads that end with the call that started them, and the first error of one.
///
/// Its lock is one that ThreadSanitizer sees: it takes Swift's `Mutex` for none.
private final class Workers: @unchecked Sendable {
    private let group = DispatchGroup()
    private let lock = NSLock()
    // Touched while `lock` is held.
    private var error: (any Error)?

    var failure: (any Error)? { lock.withLock { error } }

    /// - Parameter atEnd: called when `work` has ended and its error is known.
    func start(
        _ name: String,
        atEnd: @escaping @Sendable () -> Void,
        _ work: @escaping @Sendable () throws -> Void
    ) throws(SystemError) {
        group.enter()
        do throws(SystemError) {
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

    func wait() { group.wait() }
}
