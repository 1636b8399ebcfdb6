import Foundation
import SwanSystem
import Synchronization
import Torch

/// Returns the results of `body(0)` to `body(count - 1)` in order, running up to `threads` calls
/// concurrently.
///
/// libtorch's own operators hardly use a second core on tensors as small as a small network's. If calls
/// fail, throws the error of the one with the lowest number, after all have ended.
package func concurrentMap<Result: Sendable>(
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
                // Convolutions on a new thread would otherwise use every core.
                budget.apply()
                work.run()
                group.leave()
            }
        } catch {
            // The threads that were created do the work.
            group.leave()
            break
        }
    }
    work.run()
    group.wait()
    return try work.results()
}

/// A list of calls that threads take one at a time.
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
