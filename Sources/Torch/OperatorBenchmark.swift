import CTorch
public import SwanSystem

/// What calling an operator costs, in nanoseconds: the sum of two tensors of 16 elements.
public struct OperatorBenchmark: Sendable {
    /// From C++, without this module.
    public let direct: Double
    /// From Swift, by way of `Operator`.
    public let called: Double

    /// What this module adds to a call.
    public var overhead: Double { called - direct }

    /// The least of many short measurements of either kind, taken in turns.
    ///
    /// Short ones, so that some fall between the turns of other processes.
    public init(iterations: Int = 1_000, rounds: Int = 300) throws(SwanError) {
        let (a, b) = (try Tensor.ones([16]), try Tensor.ones([16]))
        let clock = ContinuousClock()
        var (direct, called) = (Double.infinity, Double.infinity)
        for _ in 0..<rounds {
            var error = ct_error()
            let nanoseconds = ct_bench_add(Int64(iterations), &error)
            guard nanoseconds >= 0 else { throw SwanError(taking: &error) }
            direct = min(direct, nanoseconds)
            let start = clock.now
            for _ in 0..<iterations { _ = try a + b }
            let taken = (clock.now - start) / iterations
            called = min(called, Double(taken.components.attoseconds) / 1e9)
        }
        self.direct = direct
        self.called = called
    }
}
