import Foundation
import SwanSystem

/// Three concurrent stages of a stream, each on its own thread, with at most one chunk queued
/// between two.
///
/// The first stage produces chunks, the second transforms each into zero or more results, and the
/// caller consumes them as the third. All threads end before `run` returns, whether the stream
/// ends, a stage throws or the caller stops.
package struct SideBySideStages<Made: Sendable, Finished: Sendable>: Sendable {
    /// Produces chunks and passes each to `put`, until there are no more or `put` returns false.
    package typealias Produce = @Sendable (_ put: (Made) -> Bool) throws -> Void

    private let names: (String, String)
    private let produce: Produce
    private let transform: @Sendable (Made) throws -> [Finished]
    private let drain: @Sendable () throws -> [Finished]
    private let chunkIsDone: @Sendable () -> Void

    /// - Parameters:
    ///   - names: The names of the two threads, for debuggers.
    ///   - produce: The first stage; called once, on its own thread.
    ///   - transform: The second stage; called for each chunk, on its own thread.
    ///   - drain: Returns the remaining results of the second stage at the end; called on its
    ///     thread.
    ///   - chunkIsDone: Called on the thread of the first or second stage after each chunk.
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

    /// Runs the stages until they end; rethrows the error of the first stage to fail.
    ///
    /// - Parameters:
    ///   - isStopped: Called at the end of the first stage; true drops the chunks in progress.
    ///   - cancel: Called when no more chunks are needed; makes `produce` return if it is blocked.
    ///   - take: The third stage; called for each result, on the calling thread. Returns false to
    ///     end the stream.
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

/// Worker threads, and the first error that one of them throws.
///
/// Uses a lock that ThreadSanitizer recognizes, which it does not for Swift's `Mutex`.
private final class Workers: @unchecked Sendable {
    private let group = DispatchGroup()
    private let lock = NSLock()
    // Protected by `lock`.
    private var error: (any Error)?

    var failure: (any Error)? { lock.withLock { error } }

    /// - Parameter atEnd: Called when `work` has ended and its error is stored.
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
