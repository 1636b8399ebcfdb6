import CTorch

/// The processor resources that operators may use.
///
/// A budget belongs to the thread that calls the operators: OpenMP and MKL, which the engine uses,
/// keep a number of threads for each calling thread. So a stream or a training run on one thread
/// does not affect what runs on others.
public struct ComputeBudget: Sendable, Equatable {
    /// The number of threads of an operator on the CPU.
    public var threads: Int

    /// Creates a budget of at least one thread.
    public init(threads: Int) { self.threads = max(1, threads) }

    /// The budget of the calling thread.
    public static var current: ComputeBudget { ComputeBudget(threads: Engine.threads) }

    /// Returns one of `count` equal parts, with at least one thread.
    public func divided(by count: Int) -> ComputeBudget {
        ComputeBudget(threads: threads / max(1, count))
    }

    /// Applies the budget to operators that the calling thread calls from now on, up to the limit
    /// of the process (see `Engine.fitLimits`).
    public func apply() { ct_set_threads_here(Int32(min(threads, Engine.mostThreads))) }

    /// Runs `body` with this budget, then restores the calling thread's previous one.
    public func run<Result, Failure: Error>(
        _ body: () throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let before = Self.current
        defer { before.apply() }
        apply()
        return try body()
    }
}
