import Foundation
import SwanThreads
import Testing

enum FakeStage: CaseIterable { case make, transform, drain, take }

struct FakeError: Error, Equatable {
    let stage: FakeStage
}

/// The events of a run and their times.
struct Schedule: Sendable {
    enum Event: Sendable, Equatable {
        case none
        /// A stage throws at a chunk.
        case failure(FakeStage, Int)
        /// The third stage ends the stream after this number of chunks.
        case enough(Int)
        /// The stream is stopped after this number of chunks was made.
        case stop(Int)
    }

    var chunks: Int
    var event = Event.none
    /// The number of chunks that the second stage buffers.
    var held = 0
    /// The number of chunks after which the source waits until it is cancelled.
    var waitsAfter: Int?
    var slow: FakeStage?
    /// The seed of random pauses; 0 for none.
    var seed: UInt64 = 0

    init(chunks: Int, event: Event = .none, held: Int = 0, waitsAfter: Int? = nil) {
        (self.chunks, self.event, self.held, self.waitsAfter) = (chunks, event, held, waitsAfter)
    }

    /// A random schedule.
    init(seed: UInt64) {
        var random = FakeRandom(state: seed)
        chunks = Int.random(in: 0..<20, using: &random)
        held = Int.random(in: 0..<4, using: &random)
        let place = Int.random(in: 0..<20, using: &random)
        switch Int.random(in: 0..<8, using: &random) {
        case 0: event = .enough(place + 1)
        case 1: event = .stop(place)
        case 2: event = .failure(.make, place)
        case 3: event = .failure(.transform, place)
        case 4: event = .failure(.drain, 0)
        case 5: event = .failure(.take, place)
        default: event = .none
        }
        self.seed = seed | 1
    }

    /// The stage that may throw.
    var failing: FakeStage? {
        if case .failure(let stage, _) = event { stage } else { nil }
    }

    /// Yields to other threads, sometimes; always in a slow stage.
    func pause(_ stage: FakeStage, _ chunk: Int) {
        if slow == stage { usleep(300) }
        guard seed != 0 else { return }
        var random = FakeRandom(state: seed &+ UInt64(chunk) &* 31 &+ UInt64(stage.number))
        switch random.next() % 6 {
        case 0: usleep(UInt32(random.next() % 60))
        case 1, 2: sched_yield()
        default: break
        }
    }

    func throwIfDue(_ stage: FakeStage, _ chunk: Int) throws(FakeError) {
        if event == .failure(stage, chunk) { throw FakeError(stage: stage) }
    }
}

extension FakeStage {
    fileprivate var number: Int { FakeStage.allCases.firstIndex(of: self) ?? 0 }
}

/// SplitMix64.
private struct FakeRandom: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}

/// Runs the stages with fakes that pass on the number of each chunk.
final class FakeRun: Sendable {
    private struct State {
        var prompt = 0
        var made = 0
        var held: [Chunk] = []
        var taken: [Int] = []
        var prompts: [Int] = []
        var isStopped = false
        var isOver = false
        var cancellations = 0
    }

    private struct Chunk {
        let number, prompt: Int
    }

    let schedule: Schedule
    private let state = Guarded(State())
    private let gate = DispatchSemaphore(value: 0)

    init(_ schedule: Schedule) { self.schedule = schedule }

    var taken: [Int] { state.withLock { $0.taken } }
    var prompts: [Int] { state.withLock { $0.prompts } }
    var cancellations: Int { state.withLock { $0.cancellations } }

    func setPrompt(_ number: Int) { state.withLock { $0.prompt = number } }

    func start() throws {
        let stages = ConcurrentStages<Chunk, Chunk>(
            names: ("test.make", "test.change"),
            produce: { [self] put in try make(put) },
            transform: { [self] in try transform($0) },
            drain: { [self] in try drain() },
            chunkIsDone: { [self] in expectRunning() }
        )
        defer { state.withLock { $0.isOver = true } }
        try stages.run(
            isStopped: { [self] in state.withLock { $0.isStopped } },
            cancel: { [self] in
                state.withLock { $0.cancellations += 1 }
                gate.signal()
            },
            take: { [self] in try take($0) }
        )
    }

    private func make(_ put: (Chunk) -> Bool) throws {
        for number in 0..<schedule.chunks {
            expectRunning()
            schedule.pause(.make, number)
            if number == schedule.waitsAfter { gate.wait() }
            if schedule.event == .stop(number) {
                state.withLock { $0.isStopped = true }
                return
            }
            try schedule.throwIfDue(.make, number)
            let chunk = state.withLock { state in
                state.made += 1
                return Chunk(number: number, prompt: state.prompt)
            }
            guard put(chunk) else { return }
        }
    }

    private func transform(_ chunk: Chunk) throws -> [Chunk] {
        expectRunning()
        schedule.pause(.transform, chunk.number)
        try schedule.throwIfDue(.transform, chunk.number)
        return state.withLock { state in
            state.held.append(chunk)
            return state.held.count > schedule.held ? [state.held.removeFirst()] : []
        }
    }

    private func drain() throws -> [Chunk] {
        expectRunning()
        // Called once, so it fails whatever the chunk.
        if schedule.failing == .drain { throw FakeError(stage: .drain) }
        return state.withLock { state in
            defer { state.held = [] }
            return state.held
        }
    }

    private func take(_ chunk: Chunk) throws -> Bool {
        schedule.pause(.take, chunk.number)
        try schedule.throwIfDue(.take, chunk.number)
        return state.withLock { state in
            state.taken.append(chunk.number)
            state.prompts.append(chunk.prompt)
            return schedule.event != .enough(state.taken.count)
        }
    }

    private func expectRunning() {
        #expect(!state.withLock { $0.isOver }, "a stage continues after the end of the run")
    }

    /// Checks the output of a run without errors.
    func expectEnd() {
        switch schedule.event {
        case .none: #expect(taken == Array(0..<schedule.chunks))
        case .enough(let count): #expect(taken == Array(0..<min(count, schedule.chunks)))
        case .stop(let chunk) where chunk < schedule.chunks:
            #expect(taken.count == max(0, chunk - schedule.held))
        case .stop: #expect(taken.count == schedule.chunks)
        // The failure was scheduled for a chunk that was never made.
        case .failure(_, let chunk): #expect(chunk >= schedule.chunks)
        }
        #expect(cancellations == 1)
    }

    func expectWhatCameOutIsAPrefix() {
        #expect(taken == Array(0..<taken.count))
    }
}
