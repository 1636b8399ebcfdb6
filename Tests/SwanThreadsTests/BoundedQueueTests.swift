import Foundation
import SwanThreads
import Testing

/// What waits between two threads.
@Suite struct BoundedQueueTests {
    // Threads of their own: a queue makes its callers wait, and tests share few threads.
    @Test func aQueueHandsOnInOrderAndEnds() {
        let queue = BoundedQueue<Int>(capacity: 2)
        let sender = Thread {
            for number in 0..<100 where !queue.put(number) { return }
            queue.close()
        }
        sender.start()
        var taken: [Int] = []
        while let number = queue.take() { taken.append(number) }
        #expect(taken == Array(0..<100))
        #expect(!queue.put(1))
    }

    @Test func aQueueThatIsGivenUpLetsNobodyWait() {
        let queue = BoundedQueue<Int>(capacity: 1)
        let isDone = DispatchSemaphore(value: 0)
        let sender = Thread {
            while queue.put(0) {}
            isDone.signal()
        }
        sender.start()
        _ = queue.take()
        queue.close(dropping: true)
        isDone.wait()
        #expect(queue.take() == nil)
    }
}
