/// Runs the three stages of a stream concurrently, with at most one chunk waiting between stages.
///
/// The first stage produces chunks, the second transforms each into zero or more results, and the
/// caller consumes them as the third. All threads end before `run` returns, whether the stream
/// ends, a stage throws or the caller stops.
package struct ConcurrentStages<Made: Sendable, Finished: Sendable>: Sendable {
    /// Produces chunks and passes each to `put`, until there are no more or `put` returns false.
    package typealias Produce = @Sendable (_ put: (Made) -> Bool) throws -> Void

    private let names: (String, String)
    private let threadStarts: @Sendable () -> Void
    private let produce: Produce
    private let transform: @Sendable (Made) throws -> [Finished]
    private let drain: @Sendable () throws -> [Finished]
    private let chunkIsDone: @Sendable () -> Void

    /// - Parameters:
    ///   - names: The names of the two threads, for debuggers.
    ///   - threadStarts: Called on each of the two threads when it starts.
    ///   - produce: The first stage; called once, on its own thread.
    ///   - transform: The second stage; called with each chunk, on its own thread.
    ///   - drain: Flushes the second stage at the end of the stream; called on its thread.
    ///   - chunkIsDone: Called on the thread of the first or second stage when that stage finishes
    ///     a chunk.
    package init(
        names: (String, String),
        threadStarts: @escaping @Sendable () -> Void = {},
        produce: @escaping Produce,
        transform: @escaping @Sendable (Made) throws -> [Finished],
        drain: @escaping @Sendable () throws -> [Finished],
        chunkIsDone: @escaping @Sendable () -> Void = {}
    ) {
        self.names = names
        self.threadStarts = threadStarts
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
        let workers = WorkerThreads()
        defer {
            made.close(dropping: true)
            finished.close(dropping: true)
            cancel()
            workers.wait()
        }
        try workers.start(names.0, atEnd: { made.close() }) {
            [threadStarts, produce, chunkIsDone] in
            threadStarts()
            try produce { chunk in
                chunkIsDone()
                return made.put(chunk)
            }
        }
        try workers.start(names.1, atEnd: { finished.close() }) { [self] in
            threadStarts()
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
