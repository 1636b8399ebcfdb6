import Foundation

/// A blocking queue of limited capacity between two threads.
package final class BoundedQueue<Element: Sendable>: @unchecked Sendable {
    // All properties below are protected by `condition`.
    private let condition = NSCondition()
    private let capacity: Int
    private var waiting: [Element] = []
    private var isOpen = true

    /// Creates a queue for at most `capacity` elements.
    package init(capacity: Int) {
        self.capacity = max(1, capacity)
    }

    /// Appends an element, blocking while the queue is full; returns false if the queue is closed.
    package func put(_ element: Element) -> Bool {
        condition.lock()
        defer { condition.unlock() }
        while isOpen, waiting.count >= capacity { condition.wait() }
        guard isOpen else { return false }
        waiting.append(element)
        condition.broadcast()
        return true
    }

    /// Removes the first element, blocking while the queue is empty; nil if it is closed and empty.
    package func take() -> Element? {
        condition.lock()
        defer { condition.unlock() }
        while isOpen, waiting.isEmpty { condition.wait() }
        guard !waiting.isEmpty else { return nil }
        defer { condition.broadcast() }
        return waiting.removeFirst()
    }

    /// Closes the queue to new elements; the remaining ones can still be taken unless `dropping`.
    package func close(dropping: Bool = false) {
        condition.lock()
        isOpen = false
        if dropping { waiting = [] }
        condition.broadcast()
        condition.unlock()
    }
}
