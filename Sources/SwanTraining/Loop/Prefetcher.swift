import Foundation
import Torch

/// Items made one after the other on a thread of their own, a few ahead of who takes them.
final class Prefetcher<Item: Sendable>: @unchecked Sendable {
    // `condition` guards all that follows.
    private let condition = NSCondition()
    private var ready: [Result<Item, any Error>] = []
    private var isCancelled = false
    private var isFinished = false

    /// Starts a thread that makes the items `first`, `first + 1`, ... up to `end`.
    init(
        _ range: Range<Int>,
        ahead: Int,
        make: @escaping @Sendable (Int) throws -> Item
    ) {
        let thread = Thread { [self] in
            // What it makes is small, and the cores are busy with training.
            Engine.limitThreads(to: 1)
            for index in range {
                guard waitForRoom(ahead) else { break }
                let result = Result { try make(index) }
                guard deliver(result) else { break }
                if case .failure = result { break }
            }
            finish()
        }
        // libtorch's operators nest deeper than a secondary thread's default stack allows for.
        thread.stackSize = 16 << 20
        thread.qualityOfService = .utility
        thread.start()
    }

    /// The next `count` items; nil after the last ones, and once there is a request to stop.
    func next(_ count: Int, unless stop: StopRequest = StopRequest()) throws -> [Item]? {
        var items: [Item] = []
        while items.count < count {
            guard let item = try next(unless: stop) else { return nil }
            items.append(item)
        }
        return items
    }

    /// The next item; nil after the last one, and once there is a request to stop. Waits until it is
    /// made, throws what its making threw.
    private func next(unless stop: StopRequest) throws -> Item? {
        condition.lock()
        defer { condition.unlock() }
        while ready.isEmpty && !isFinished && !stop.isMade {
            _ = condition.wait(until: Date(timeIntervalSinceNow: 0.1))
        }
        guard !ready.isEmpty, !stop.isMade else { return nil }
        let result = ready.removeFirst()
        condition.broadcast()
        return try result.get()
    }

    /// Makes no more items and waits until the thread is done with the one at hand.
    func cancel() {
        condition.lock()
        defer { condition.unlock() }
        isCancelled = true
        ready = []
        condition.broadcast()
        while !isFinished { condition.wait() }
    }

    private func waitForRoom(_ ahead: Int) -> Bool {
        condition.lock()
        defer { condition.unlock() }
        while ready.count >= ahead && !isCancelled { condition.wait() }
        return !isCancelled
    }

    private func deliver(_ result: Result<Item, any Error>) -> Bool {
        condition.lock()
        defer { condition.unlock() }
        guard !isCancelled else { return false }
        ready.append(result)
        condition.broadcast()
        return true
    }

    private func finish() {
        condition.lock()
        defer { condition.unlock() }
        isFinished = true
        condition.broadcast()
    }
}
