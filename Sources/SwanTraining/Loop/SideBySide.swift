import Foundation
import SwanSystem
import Synchronization
import Torch

/// Calls on several threads at once: the engine's own operators hardly use a second core on
/// tensors as small as those of a small network.
package enum SideBySide {
    /// The results of `body(0)` to `body(count - 1)` in order, up to `threads` at a time.
    ///
    /// Throws what the first call that failed has thrown, when all are done.
    package static func map<Result: Sendable>(
        _ count: Int,
        threads: Int,
        _ body: @escaping @Sendable (Int) throws -> Result
    ) throws -> [Result] {
        guard min(count, threads) > 1 else { return try (0..<count).map(body) }
        let work = Work(count: count, body: body)
        let group = DispatchGroup()
        let budget = ComputeBudget.current
        for _ in 1..<min(count, threads) {
            group.enter()
            do throws(SwanError) {
                // libtorch's operators nest deeper than a secondary thread's default stack allows for.
                try startThread("swan.side", stackBytes: 16 << 20) {
                    // A new thread's convolutions would take every core.
                    budget.apply()
                    work.run()
                    group.leave()
                }
            } catch {
                // Those that there are do the work.
                group.leave()
                break
            }
        }
        work.run()
        group.wait()
        return try work.results()
    }
}

/// Calls that are taken one by one by whoever is free.
private final class Work<Result: Sendable>: Sendable {
    private let body: @Sendable (Int) throws -> Result
    private let count: Int
    private let next = Atomic(0)
    private let done: Mutex<[Int: Swift.Result<Result, any Error>]> = Mutex([:])

    init(count: Int, body: @escaping @Sendable (Int) throws -> Result) {
        self.count = count
        self.body = body
    }

    func run() {
        while true {
            let index = next.add(1, ordering: .relaxed).oldValue
            guard index < count else { return }
            let result = Swift.Result { try body(index) }
            done.withLock { $0[index] = result }
        }
    }

    func results() throws -> [Result] {
        try done.withLock { done in try (0..<count).compactMap { try done[$0]?.get() } }
    }
}
