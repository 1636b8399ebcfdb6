import Foundation
package import SwanSystem
package import SwanThreads
import Torch

/// Items made ahead of who takes them and given in their order, whoever of several threads makes them.
package final class Prefetcher<Item: Sendable>: @unchecked Sendable {
    // `condition` guards all that follows.
    private let condition = NSCondition()
    private var made: [Int: Result<Item, any Error>] = [:]
    private var nextToMake, nextToTake: Int
    /// Nothing is made from here on.
    private var end: Int
    private var working: Int

    /// Starts `threads` threads that make the items of `range`: at most `ahead` that nobody has taken
    /// yet, or two for each thread where that is more. Throws where the system gives no thread at all.
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
                    // What it makes is small, and the cores are busy with training or with its like.
                    ComputeBudget(threads: 1).apply()
                    while let index = begin(room) { deliver(Result { try make(index) }, index) }
                    finish()
                }
            } catch {
                guard number > 0 else { throw error }
                // Those that there are do the work.
                for _ in number..<threads { finish() }
                break
            }
        }
    }

    /// The next `count` items; nil after the last ones, and once the job is cancelled.
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

    /// The next item; nil after the last one, and once the job is cancelled. Waits until it is
    /// made, throws what its making threw.
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

    /// Makes no more items and waits until all threads are done with those at hand.
    package func cancel() {
        condition.lock()
        defer { condition.unlock() }
        end = nextToTake
        made = [:]
        condition.broadcast()
        while working > 0 { condition.wait() }
    }

    /// The next item to make, when there is room for it; nil when there is none.
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
        // Nothing comes after an error, but what is being made.
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
