import Foundation
import SwanThreads

/// The stages between a reading and a writing thread, connected as in `FileStream`.
final class FakeFile: Sendable {
    private struct State {
        var written: [Int] = []
        var failure: FakeError?
        var isStopped = false
    }

    let schedule: Schedule
    private let state = Guarded(State())
    private let threads = DispatchGroup()
    private let read = BoundedQueue<Int>(capacity: 3)
    private let results = BoundedQueue<Int>(capacity: 2)

    init(_ schedule: Schedule) { self.schedule = schedule }

    var written: [Int] { state.withLock { $0.written } }

    func run() throws {
        defer {
            read.close(dropping: true)
            results.close(dropping: true)
            threads.wait()
        }
        start { file in
            for number in 0..<file.schedule.chunks {
                file.schedule.pause(.make, number)
                try file.schedule.throwIfDue(.make, number)
                guard file.read.put(number) else { break }
            }
            file.read.close()
        }
        start { file in
            while let number = file.results.take() {
                try file.schedule.throwIfDue(.take, number)
                file.schedule.pause(.take, number)
                file.state.withLock { $0.written.append(number) }
            }
        }
        try stages.run(
            isStopped: { [self] in state.withLock { $0.isStopped || $0.failure != nil } },
            cancel: { read.close(dropping: true) },
            take: { results.put($0) }
        )
        results.close()
        threads.wait()
        if let failure = state.withLock({ $0.failure }) { throw failure }
    }

    private var stages: ConcurrentStages<Int, Int> {
        ConcurrentStages(
            names: ("test.make", "test.change"),
            produce: { [self] put in
                while !state.withLock({ $0.isStopped }), let number = read.take() {
                    if schedule.event == .stop(number) { state.withLock { $0.isStopped = true } }
                    guard put(number) else { return }
                }
            },
            transform: { [schedule] number in
                schedule.pause(.transform, number)
                try schedule.throwIfDue(.transform, number)
                return [number]
            },
            drain: { [schedule] in
                try schedule.throwIfDue(.drain, 0)
                return []
            }
        )
    }

    private func start(_ work: @escaping @Sendable (FakeFile) throws -> Void) {
        threads.enter()
        Thread { [self] in
            defer { threads.leave() }
            do {
                try work(self)
            } catch {
                state.withLock { $0.failure = $0.failure ?? error as? FakeError }
                read.close(dropping: true)
                results.close(dropping: true)
            }
        }.start()
    }
}
