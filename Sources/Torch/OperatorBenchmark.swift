import CTorch
package import SwanSystem

/// The cost of an operator call in nanoseconds, for the sum of two tensors of 16 elements.
package struct OperatorBenchmark: Sendable {
    /// The cost from C++, without this module.
    package let direct: Double
    /// The cost from Swift, through `Operator`.
    package let called: Double

    /// The cost that this module adds to a call.
    package var overhead: Double { called - direct }

    /// Measures the minimum of many short runs of both kinds, interleaved.
    ///
    /// The runs are short so that some are not interrupted by other processes.
    package init(iterations: Int = 1_000, rounds: Int = 300) throws(SwanError) {
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
