import CTorch

/// How much of the processor operators may use.
///
/// It belongs to the thread that calls the operators: OpenMP and MKL, which the engine works with, keep a
/// number of threads for each of their callers. So what runs on one thread, a stream or a training, changes
/// nothing for what runs on others.
public struct ComputeBudget: Sendable, Equatable {
    /// Threads of an operator on the CPU.
    public var threads: Int

    /// A budget of at least one thread.
    public init(threads: Int) { self.threads = max(1, threads) }

    /// What operators may use that the calling thread calls.
    public static var current: ComputeBudget { ComputeBudget(threads: Engine.threads) }

    /// One of `count` equal parts, of at least one thread.
    public func divided(by count: Int) -> ComputeBudget {
        ComputeBudget(threads: threads / max(1, count))
    }

    /// Sets what operators may use that the calling thread calls from now on; within what the process may
    /// have (see `Engine.fitLimits`).
    public func apply() { ct_set_threads_here(Int32(min(threads, Engine.mostThreads))) }

    /// Runs `body` on this budget; the calling thread then has the one it had before.
    public func run<Result, Failure: Error>(
        _ body: () throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let before = Self.current
        defer { before.apply() }
        apply()
        return try body()
    }
}
