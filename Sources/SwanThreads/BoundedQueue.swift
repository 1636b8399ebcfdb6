import Foundation

/// A bounded queue between two threads or tasks.
///
/// `put` and `take` block the calling thread; `send` and `receive` suspend the calling task.
package final class BoundedQueue<Element: Sendable>: @unchecked Sendable {
    /// What to do with a new element when the queue is full.
    package enum Policy: Sendable {
        /// Wait until there is room.
        case wait
        /// Drop the oldest element in the queue.
        case dropOldest
    }

    // Everything below is protected by `condition`.
    private let condition = NSCondition()
    private let capacity: Int
    private let policy: Policy
    private var waiting: [Element] = []
    private var isOpen = true
    private var dropped = 0
    private var suspended: [CheckedContinuation<Void, Never>] = []

    /// Creates a queue that holds at most `capacity` elements.
    package init(capacity: Int, whenFull policy: Policy = .wait) {
        self.capacity = max(1, capacity)
        self.policy = policy
    }

    /// The number of elements that were dropped to make room for newer ones.
    package var droppedCount: Int { condition.withLock { dropped } }

    // MARK: - Threads

    /// Adds an element, blocking while the queue is full; returns false if the queue is closed.
    package func put(_ element: Element) -> Bool {
        condition.withLock {
            while isOpen, isFull { condition.wait() }
            return append(element)
        }
    }

    /// Removes the first element, blocking while the queue is empty; returns nil if it is closed
    /// and empty.
    package func take() -> Element? {
        condition.withLock {
            while isOpen, waiting.isEmpty { condition.wait() }
            return removeFirst()
        }
    }

    /// Removes the first element, blocking for at most `seconds` while the queue is empty; returns nil if
    /// there is none.
    package func take(within seconds: Double) -> Element? {
        let end = Date(timeIntervalSinceNow: seconds)
        return condition.withLock {
            while isOpen, waiting.isEmpty { guard condition.wait(until: end) else { break } }
            return removeFirst()
        }
    }

    /// Whether the queue is closed and empty.
    package var isDone: Bool { condition.withLock { !isOpen && waiting.isEmpty } }

    /// Closes the queue to new elements. The remaining ones can still be taken unless `dropping`.
    package func close(dropping: Bool = false) {
        condition.withLock {
            isOpen = false
            if dropping { waiting = [] }
            wake()
        }
    }

    // MARK: - Tasks

    /// Adds an element, suspending while the queue is full; returns false if the queue is closed or
    /// the task is cancelled.
    package func send(_ element: Element) async -> Bool {
        while true {
            let isIn: Bool? = condition.withLock { isOpen && isFull ? nil : append(element) }
            if let isIn { return isIn }
            if Task.isCancelled { return false }
            await suspend { $0.isOpen && $0.isFull }
        }
    }

    /// Removes the first element, suspending while the queue is empty; returns nil if the queue is
    /// closed and empty or the task is cancelled.
    package func receive() async -> Element? {
        while true {
            let next: Element?? = condition.withLock {
                isOpen && waiting.isEmpty ? nil : .some(removeFirst())
            }
            if let next { return next }
            if Task.isCancelled { return nil }
            await suspend { $0.isOpen && $0.waiting.isEmpty }
        }
    }

    /// Suspends the task until the queue changes, unless `isBlocked` is already false.
    private func suspend(while isBlocked: @Sendable (BoundedQueue) -> Bool) async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = condition.withLock {
                    guard isBlocked(self), !Task.isCancelled else { return true }
                    suspended.append(continuation)
                    return false
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            condition.withLock { wake() }
        }
    }

    // MARK: - While the lock is held

    private var isFull: Bool { policy == .wait && waiting.count >= capacity }

    private func append(_ element: Element) -> Bool {
        guard isOpen else { return false }
        if waiting.count >= capacity {
            waiting.removeFirst()
            dropped += 1
        }
        waiting.append(element)
        wake()
        return true
    }

    private func removeFirst() -> Element? {
        guard !waiting.isEmpty else { return nil }
        wake()
        return waiting.removeFirst()
    }

    private func wake() {
        condition.broadcast()
        for continuation in suspended { continuation.resume() }
        suspended = []
    }
}
