import Foundation
import SwanThreads
import Testing

/// The three stages of a stream with fakes in their places: whatever happens when, they end, and with
/// what they should.
@Suite struct ConcurrentStagesTests {
    @Test func everyChunkComesOutInOrder() throws {
        let run = FakeRun(Schedule(chunks: 50))
        try run.start()
        #expect(run.taken == Array(0..<50))
    }

    @Test func nothingIsMadeOfNothing() throws {
        let run = FakeRun(Schedule(chunks: 0))
        try run.start()
        #expect(run.taken.isEmpty && run.cancellations == 1)
    }

    @Test(arguments: FakeStage.allCases, [0, 1, 7])
    func theErrorOfAStageEndsThemAll(stage: FakeStage, chunk: Int) {
        let run = FakeRun(Schedule(chunks: 20, event: .failure(stage, chunk)))
        let error = #expect(throws: FakeError.self) { try run.start() }
        #expect(error == FakeError(stage: stage))
        run.expectWhatCameOutIsAPrefix()
    }

    @Test(arguments: [1, 2, 9]) func whoWantsNoMoreEndsTheStream(count: Int) throws {
        let run = FakeRun(Schedule(chunks: 20, event: .enough(count)))
        try run.start()
        #expect(run.taken == Array(0..<count))
    }

    /// A source that waits for what never comes is woken.
    @Test func aSourceThatWaitsIsCancelled() throws {
        let run = FakeRun(Schedule(chunks: 20, event: .enough(3), waitsAfter: 6))
        try run.start()
        #expect(run.taken == [0, 1, 2] && run.cancellations == 1)
    }

    @Test func whatIsOnItsWayIsDroppedWhenStopped() throws {
        let run = FakeRun(Schedule(chunks: 20, event: .stop(8), held: 2))
        try run.start()
        #expect(run.taken == Array(0..<6))
    }

    @Test(arguments: [FakeStage.make, .transform, .take])
    func oneStageIsSlowerThanTheOthers(stage: FakeStage) throws {
        var schedule = Schedule(chunks: 12, held: 1)
        schedule.slow = stage
        let run = FakeRun(schedule)
        try run.start()
        #expect(run.taken == Array(0..<12))
    }

    /// Prompts change while chunks are made: none is seen before it was set, none is forgotten.
    @Test func promptsChangeMeanwhile() throws {
        let run = FakeRun(Schedule(chunks: 200, held: 1))
        let setter = Thread { for number in 1...100 { run.setPrompt(number) } }
        setter.start()
        try run.start()
        #expect(run.prompts.count == 200)
        #expect(zip(run.prompts, run.prompts.dropFirst()).allSatisfy { $0 <= $1 })
    }

    /// Failures, stops and ends at any place, at any speed of each stage.
    @Test(arguments: 0..<8) func anySchedule(part: UInt64) {
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

    /// As a stream from a file to a file has them: a reader before the stages and a writer behind.
    @Test(arguments: 0..<4) func betweenAReaderAndAWriter(part: UInt64) {
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
