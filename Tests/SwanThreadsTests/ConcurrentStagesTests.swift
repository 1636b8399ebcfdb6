import Foundation
import SwanThreads
import Testing

/// Runs the three stages of a stream with fakes: they must always end, with the expected result, whatever
/// the order of events.
@Suite struct ConcurrentStagesTests {
    @Test func outputsEveryChunkInOrder() throws {
        let run = FakeRun(Schedule(chunks: 50))
        try run.start()
        #expect(run.taken == Array(0..<50))
    }

    @Test func acceptsNoChunks() throws {
        let run = FakeRun(Schedule(chunks: 0))
        try run.start()
        #expect(run.taken.isEmpty && run.cancellations == 1)
    }

    @Test(arguments: FakeStage.allCases, [0, 1, 7])
    func errorsEndAllStages(stage: FakeStage, chunk: Int) {
        let run = FakeRun(Schedule(chunks: 20, event: .failure(stage, chunk)))
        let error = #expect(throws: FakeError.self) { try run.start() }
        #expect(error == FakeError(stage: stage))
        run.expectWhatCameOutIsAPrefix()
    }

    @Test(arguments: [1, 2, 9]) func theConsumerCanEndTheStream(count: Int) throws {
        let run = FakeRun(Schedule(chunks: 20, event: .enough(count)))
        try run.start()
        #expect(run.taken == Array(0..<count))
    }

    /// A source that waits for input that never arrives is woken.
    @Test func cancelsAWaitingSource() throws {
        let run = FakeRun(Schedule(chunks: 20, event: .enough(3), waitsAfter: 6))
        try run.start()
        #expect(run.taken == [0, 1, 2] && run.cancellations == 1)
    }

    @Test func stoppingDropsPendingChunks() throws {
        let run = FakeRun(Schedule(chunks: 20, event: .stop(8), held: 2))
        try run.start()
        #expect(run.taken == Array(0..<6))
    }

    @Test(arguments: [FakeStage.make, .transform, .take])
    func toleratesASlowStage(stage: FakeStage) throws {
        var schedule = Schedule(chunks: 12, held: 1)
        schedule.slow = stage
        let run = FakeRun(schedule)
        try run.start()
        #expect(run.taken == Array(0..<12))
    }

    /// Prompts that change while chunks are made take effect in order, and never early.
    @Test func promptsChangeDuringTheRun() throws {
        let run = FakeRun(Schedule(chunks: 200, held: 1))
        let setter = Thread { for number in 1...100 { run.setPrompt(number) } }
        setter.start()
        try run.start()
        #expect(run.prompts.count == 200)
        #expect(zip(run.prompts, run.prompts.dropFirst()).allSatisfy { $0 <= $1 })
    }

    /// Random failures and stops, with stages of random speed.
    @Test(arguments: 0..<8) func randomSchedules(part: UInt64) {
        for number in 0..<50 {
            let run = FakeRun(Schedule(seed: part << 32 | UInt64(number)))
            do {
                try run.start()
                run.expectEnd()
            } catch {
                #expect((error as? FakeError)?.stage == run.schedule.failing)
            }
            run.expectWhatCameOutIsAPrefix()
        }
    }

    /// Adds a reader before the stages and a writer after them, as when a stream converts a file.
    @Test(arguments: 0..<4) func withReaderAndWriter(part: UInt64) {
        for number in 0..<25 {
            let file = FakeFile(Schedule(seed: part << 32 | UInt64(number) | 1 << 60))
            do {
                try file.run()
                if file.schedule.event == .none {
                    #expect(file.written == Array(0..<file.schedule.chunks))
                }
            } catch {
                #expect((error as? FakeError)?.stage == file.schedule.failing)
            }
            #expect(file.written == Array(0..<file.written.count))
        }
    }
}
