import Foundation

/// Hands elements from one thread to another, a limited number of them waiting in between.
package final class BoundedQueue<Element: Sendable>: @unchecked Sendable {
    // Everything below is touched while `condition` is held.
    private let condition = NSCondition()
    private let capacity: Int
    private var waiting: [Element] = []
    private var isOpen = true

    /// A queue in which at most `capacity` elements wait.
    package init(capacity: Int) {
        self.capacity = max(1, capacity)
    }

    /// Waits for room and puts an element in; false if the queue is closed.
    package func put(_ element: Element) -> Bool {
        condition.lock()
        defer { condition.unlock() }
        while isOpen, waiting.count >= capacity { condition.wait() }
        guard isOpen else { return false }
        waiting.append(element)
        condition.broadcast()
        return true
    }

    /// Waits for an element; nil if the queue is closed and empty.
    package func take() -> Element? {
        condition.lock()
        defer { condition.unlock() }
        while isOpen, waiting.isEmpty { condition.wait() }
        guard !waiting.isEmpty else { return nil }
        defer { condition.broadcast() }
        return waiting.removeFirst()
    }

    /// Lets nothing more in; what waits can still be taken unless it is to be `dropped`.
    package func close(dropping: Bool = false) {
        condition.lock()
        isOpen = false
        if dropping { waiting = [] }
        condition.broadcast()
        condition.unlock()
    }
}
