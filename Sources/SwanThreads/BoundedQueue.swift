import Foundation

/// Hands elements from one thread or task to another, a limited number of them waiting in between.
///
/// `put` and `take` have their thread wait, `send` and `receive` suspend their task.
package final class BoundedQueue<Element: Sendable>: @unchecked Sendable {
    /// What happens to an element for which there is no room.
    package enum Policy: Sendable {
        /// It waits for room.
        case wait
        /// The element that has waited longest is dropped for it.
        case dropOldest
    }

    // Everything below is touched while `condition` is held.
    private let condition = NSCondition()
    private let capacity: Int
    private let policy: Policy
    private var waiting: [Element] = []
    private var isOpen = true
    private var dropped = 0
    private var suspended: [CheckedContinuation<Void, Never>] = []

    /// A queue in which at most `capacity` elements wait.
    package init(capacity: Int, whenFull policy: Policy = .wait) {
        self.capacity = max(1, capacity)
        self.policy = policy
    }

    /// Elements that were dropped for newer ones.
    package var droppedCount: Int { condition.withLock { dropped } }

    // MARK: - Threads

    /// Waits for room and puts an element in; false if the queue is closed.
    package func put(_ element: Element) -> Bool {
        condition.withLock {
            while isOpen, isFull { condition.wait() }
            return append(element)
        }
    }

    /// Removes the first element, blocking while the queue is empty; nil if it is closed and empty.
    package func take() -> Element? {
        condition.withLock {
            while isOpen, waiting.isEmpty { condition.wait() }
            return removeFirst()
        }
    }

    /// Closes the queue to new elements; the remaining ones can still be taken unless `dropping`.
    package func close(dropping: Bool = false) {
        condition.withLock {
            isOpen = false
            if dropping { waiting = [] }
            wake()
        }
    }

    // MARK: - Tasks

    /// Puts an element in when there is room; false if the queue is closed or the task is cancelled.
    package func send(_ element: Element) async -> Bool {
        while true {
            let isIn: Bool? = condition.withLock { isOpen && isFull ? nil : append(element) }
            if let isIn { return isIn }
            if Task.isCancelled { return false }
            await suspend { $0.isOpen && $0.isFull }
        }
    }

    /// The next element when there is one; nil if the queue is closed and empty or the task is cancelled.
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

    /// Suspends the task until the queue changes, unless `isBlocked` is false by then.
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
