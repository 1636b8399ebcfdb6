import Foundation
package import SwanSystem
package import SwanThreads
import Torch

/// Makes items ahead of use on several threads and returns them in order.
package final class Prefetcher<Item: Sendable>: @unchecked Sendable {
    // `condition` protects everything below.
    private let condition = NSCondition()
    private var made: [Int: Result<Item, any Error>] = [:]
    private var nextToMake, nextToTake: Int
    /// No items are made from this index on.
    private var end: Int
    private var working: Int

    /// Starts `threads` threads that make the items of `range`, up to `ahead` items before they are
    /// taken, or two per thread if that is more. Throws if the system cannot create any thread.
    package init(
        _ range: Range<Int>,
        ahead: Int = 0,
        threads: Int = 1,
        make: @escaping @Sendable (Int) throws -> Item
    ) throws(SwanError) {
        (nextToMake, nextToTake, end) = (range.lowerBound, range.lowerBound, range.upperBound)
        let threads = max(1, threads)
        working = threads
        let room = max(ahead, 2 * threads)
        for number in 0..<threads {
            do throws(SwanError) {
                // libtorch's operators nest deeper than a secondary thread's default stack allows for.
                try startThread("swan.prefetch", stackBytes: 16 << 20) { [self] in
                    // The operations are small, and the cores are busy with training or with the
                    // other threads.
                    ComputeBudget(threads: 1).apply()
                    while let index = begin(room) { deliver(Result { try make(index) }, index) }
                    finish()
                }
            } catch {
                guard number > 0 else { throw error }
                // The threads that were created do the work.
                for _ in number..<threads { finish() }
                break
            }
        }
    }

    /// Returns the next `count` items; nil at the end, and once the job is cancelled.
    package func next(_ count: Int, unless stop: CancellationFlag = CancellationFlag()) throws
        -> [Item]?
    {
        var items: [Item] = []
        while items.count < count {
            guard let item = try next(unless: stop) else { return nil }
            items.append(item)
        }
        return items
    }

    /// Returns the next item, blocking until it is made; nil at the end, and once the job is
    /// cancelled. Rethrows the error of making it.
    private func next(unless stop: CancellationFlag) throws -> Item? {
        condition.lock()
        defer { condition.unlock() }
        while made[nextToTake] == nil && nextToTake < end && !stop.isCancelled {
            _ = condition.wait(until: Date(timeIntervalSinceNow: 0.1))
        }
        guard !stop.isCancelled, let result = made.removeValue(forKey: nextToTake) else {
            return nil
        }
        nextToTake += 1
        condition.broadcast()
        return try result.get()
    }

    /// Stops making items and waits until all threads have finished their current one.
    package func cancel() {
        condition.lock()
        defer { condition.unlock() }
        end = nextToTake
        made = [:]
        condition.broadcast()
        while working > 0 { condition.wait() }
    }

    /// Returns the index of the next item to make, waiting for room; nil when there is none.
    private func begin(_ room: Int) -> Int? {
        condition.lock()
        defer { condition.unlock() }
        while nextToMake < end && nextToMake >= nextToTake + room { condition.wait() }
        guard nextToMake < end else { return nil }
        defer { nextToMake += 1 }
        return nextToMake
    }

    private func deliver(_ result: Result<Item, any Error>, _ index: Int) {
        condition.lock()
        defer { condition.unlock() }
        guard index < end else { return }
        made[index] = result
        // After an error, only the items already in progress are finished.
        if case .failure = result { end = min(end, nextToMake) }
        condition.broadcast()
    }

    private func finish() {
        condition.lock()
        defer { condition.unlock() }
        working -= 1
        condition.broadcast()
    }
}
