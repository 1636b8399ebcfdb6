import Foundation
import SwanThreads
import Testing

/// Queues between threads and tasks.
@Suite struct BoundedQueueTests {
    // Uses dedicated threads, because a queue blocks its callers and tests share few threads.
    @Test func deliversInOrderAndEnds() {
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

    @Test func closingWakesAllWaiters() {
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

    /// A full queue drops and counts its oldest elements.
    @Test func dropsTheOldest() {
        let queue = BoundedQueue<Int>(capacity: 3, whenFull: .dropOldest)
        for number in 0..<10 { #expect(queue.put(number)) }
        queue.close()
        var taken: [Int] = []
        while let number = queue.take() { taken.append(number) }
        #expect(taken == [7, 8, 9] && queue.droppedCount == 7)
    }

    /// Tasks pass elements in order through a queue with room for one.
    @Test func waitingCanBeLimited() {
        let queue = BoundedQueue<Int>(capacity: 2)
        #expect(queue.take(within: 0.01) == nil)
        #expect(!queue.isDone)
        _ = queue.put(1)
        queue.close()
        #expect(!queue.isDone)
        #expect(queue.take(within: 10) == 1)
        #expect(queue.take(within: 10) == nil)
        #expect(queue.isDone)
    }

    @Test func tasksSuspend() async {
        let queue = BoundedQueue<Int>(capacity: 1)
        let sender = Task {
            for number in 0..<500 { guard await queue.send(number) else { return } }
            queue.close()
        }
        var received: [Int] = []
        while let number = await queue.receive() { received.append(number) }
        await sender.value
        #expect(received == Array(0..<500))
        #expect(await !queue.send(0))
    }

    /// A task at one end and a thread at the other.
    @Test func threadsAndTasksShareAQueue() async {
        let (there, back) = (BoundedQueue<Int>(capacity: 2), BoundedQueue<Int>(capacity: 2))
        Thread {
            while let number = there.take(), back.put(number + 1) {}
            back.close()
        }.start()
        let sender = Task {
            for number in 0..<500 { _ = await there.send(number) }
            there.close()
        }
        var received: [Int] = []
        while let number = await back.receive() { received.append(number) }
        await sender.value
        #expect(received == Array(1...500))
    }

    @Test func cancellationEndsWaiting() async {
        let (empty, full) = (BoundedQueue<Int>(capacity: 1), BoundedQueue<Int>(capacity: 1))
        _ = full.put(1)
        for _ in 0..<100 {
            let receiver = Task { await empty.receive() }
            let sender = Task { await full.send(2) }
            await Task.yield()
            receiver.cancel()
            sender.cancel()
            #expect(await receiver.value == nil)
            #expect(await !sender.value)
        }
        #expect(full.take() == 1)
    }
}
