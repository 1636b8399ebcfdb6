import Foundation
import GoldenSupport
import ModelSupport
import SwanMedia
import SwanSystem
import Synchronization
import Testing
import Torch

@testable import SwanPipelines
import SwanCheckpoints

/// A whole stream on random weights: counts, seeds, prompts, chunks, threads.
@Suite struct VideoStreamTests {
    @Test(arguments: [1, 2, 4, 5, 6, 9, 13, 22], [true, false])
    func asManyFramesComeOutAsWentIn(count: Int, streamBatch: Bool) throws {
        let stream = try self.stream { $0.streamBatch = streamBatch }
        let out = try run(stream, clip(count))
        #expect(out.count == count)
        #expect(stream.framesOut == count)
        #expect(out.allSatisfy { $0.width == 64 && $0.height == 48 })
    }

    @Test(arguments: Device.tested) func theSeedDecidesEverything(device: Device) throws {
        let clip = try clip(14)
        let first = try run(stream(on: device) { $0.seed = 7 }, clip)
        let again = try run(stream(on: device) { $0.seed = 7 }, clip)
        let other = try run(stream(on: device) { $0.seed = 8 }, clip)
        #expect(first.map(\.pixels) == again.map(\.pixels))
        #expect(first.map(\.pixels) != other.map(\.pixels))
    }

    @Test func aNewPromptTakesHoldAtTheNextChunk() throws {
        let clip = try clip(21)
        let plain = try run(stream(), clip)
        let stream = try self.stream()
        var changed: [VideoFrame] = []
        for (index, frame) in clip.enumerated() {
            if index == 11 { try stream.setPrompt("neon edges") }
            changed += try stream.push(frame)
        }
        changed += try stream.finish()
        // Frames 9 ..< 13 are the chunk that was being filled; with two steps one more is on its way.
        #expect(plain.prefix(5).map(\.pixels) == changed.prefix(5).map(\.pixels))
        #expect(plain.suffix(4).map(\.pixels) != changed.suffix(4).map(\.pixels))
    }

    @Test(arguments: Device.tested) func framesOfAnySizeAreResized(device: Device) throws {
        let frames = try (0..<6).map { _ in try picture(width: 101, height: 77, shade: 90) }
        #expect(try run(stream(on: device), frames).count == 6)
    }

    @Test func chunksGrowTowardsTheTargetRate() throws {
        let stream = try self.stream {
            ($0.configuration.cacheFrames, $0.configuration.sinkFrames) = (6, 1)
            $0.targetFPS = 1e9
        }
        var sizes: Set<Int> = []
        var out = 0
        for frame in try clip(90) {
            let given = try stream.push(frame).count
            if given > 0 { sizes.insert(given) }
            out += given
        }
        out += try stream.finish().count
        #expect(out == 90)
        #expect(sizes.contains(16))
    }

    @Test func withoutInputTheStreamGoesOnFromNoise() throws {
        let stream = try self.stream()
        let first = try stream.generate().count
        #expect(first == 1)
        for _ in 0..<6 { #expect(try stream.generate().count == 4) }
    }

    @Test func largerBlocks() throws {
        let stream = try self.stream {
            ($0.configuration.framesPerBlock, $0.configuration.cacheFrames) = (3, 9)
        }
        #expect(try run(stream, clip(40)).count == 40)
    }

    /// Side by side the stages give what they give one after the other.
    @Test(arguments: [1, 5, 6, 23], [true, false])
    func theStagesRunSideBySide(count: Int, streamBatch: Bool) throws {
        let clip = try clip(count)
        let expected = try run(stream { $0.streamBatch = streamBatch }, clip)
        let stream = try self.stream { $0.streamBatch = streamBatch }
        let source = Source(clip)
        var out: [VideoFrame] = []
        try stream.run(StreamSource(next: { source.next() })) {
            out += $0.frames; return true
        }
        // Operators have other numbers of threads, so that sums round otherwise.
        let differences = zip(out, expected).map { a, b in
            zip(a.pixels, b.pixels).map { abs(Int($0) - Int($1)) }.max() ?? 0
        }
        #expect(differences.count == count && differences.allSatisfy { $0 <= 2 })
        #expect(stream.framesIn == count && stream.framesOut == count)
    }

    @Test func sideBySideAStreamEndsWithItsSourceItsReaderOrAnError() throws {
        let stopped = try self.stream()
        let source = Source(try clip(17))
        var count = 0
        try stopped.run(StreamSource(next: { source.next() }, isStopped: { true })) {
            count += $0.frames.count; return true
        }
        // The last chunk is still on its way, and dropped.
        #expect(count == 13)

        // Nobody reads on, while the source waits for a frame that does not come.
        let unread = try self.stream()
        let more = Source(try clip(9))
        let gate = DispatchSemaphore(value: 0)
        let waiting = StreamSource(
            next: {
                if let frame = more.next() { return frame }
                gate.wait()
                return nil
            },
            isStopped: { true },
            cancel: { gate.signal() }
        )
        try unread.run(waiting) { _ in false }
        #expect(unread.framesOut == 5)

        let failing = try self.stream()
        #expect(throws: SwanError.self) {
            let broken = StreamSource(next: { throw SwanError(.invalidRequest, "broken") })
            try failing.run(broken) { _ in true }
        }
    }

    @Test(arguments: [true, false])
    func textAloneSideBySide(streamBatch: Bool) throws {
        let expected = try stream { $0.streamBatch = streamBatch }
        let first = try expected.generate() + expected.generate() + expected.generate()
        let stream = try self.stream { $0.streamBatch = streamBatch }
        var out: [VideoFrame] = []
        try stream.generate(atLeast: 9, willStart: { _ in }, isStopped: { false }) {
            out += $0.frames
            return true
        }
        #expect(out.count == 9)
        #expect(out.first?.pixels == first.first?.pixels)
    }

    @Test func asASequence() async throws {
        let clip = try clip(11)
        let source = AsyncStream<VideoFrame> { continuation in
            for frame in clip { continuation.yield(frame) }
            continuation.finish()
        }
        var count = 0
        for try await frame in try stream().frames(from: source) {
            #expect(frame.width == 64)
            count += 1
        }
        #expect(count == 11)
    }

    /// A sequence that nobody reads on takes no more frames than it has room for, and one that is let go
    /// ends its stream.
    @Test(.timeLimit(.minutes(5))) func aSequenceIsBounded() async throws {
        let endless = Endless(try picture(width: 64, height: 48, shade: 3))
        var count = 0
        for try await _ in try stream().frames(from: endless) {
            count += 1
            if count == 3 { break }
        }
        // What was taken lies in the queues and in the stages.
        #expect(endless.pulled.load(ordering: .relaxed) < 100)
        while !endless.isOver.load(ordering: .relaxed) {
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    @Test func anErrorOfTheSourceEndsTheSequence() async throws {
        let clip = try clip(6)
        let source = AsyncThrowingStream<VideoFrame, any Error> { continuation in
            for frame in clip { continuation.yield(frame) }
            continuation.finish(throwing: SwanError(.invalidRequest, "broken"))
        }
        let restyled = try stream().frames(from: source)
        await #expect(throws: SwanError.self) { for try await _ in restyled {} }
    }

    /// A live source is faster than the stream: frames are dropped and counted, the rest come out.
    @Test func aFullInboxDropsTheOldest() throws {
        let stream = try self.stream()
        let inbox = FrameInbox(capacity: 5, whenFull: .dropOldest)
        let start = ContinuousClock.now
        for (index, frame) in try clip(40).enumerated() {
            inbox.put(TimedFrame(frame, captureTime: start + .seconds(index)))
        }
        inbox.close()
        #expect(inbox.droppedFrames == 35)
        var times: [ContinuousClock.Instant] = []
        try stream.run(inbox.source) { chunk in
            times += chunk.captureTimes
            return true
        }
        // The newest, each with its own time.
        #expect(times == (35..<40).map { start + .seconds($0) })
        #expect(stream.framesOut == 5)
        #expect(!inbox.put(TimedFrame(try picture(width: 64, height: 48, shade: 1))))
    }

    /// Latency counts from the capture of a chunk's last frame, by the stream's clock.
    @Test func latencyCountsFromTheCapture() throws {
        let start = ContinuousClock.now
        let clock = StreamClock { start + .seconds(100) }
        let stream = try self.stream(clock: clock) { $0.streamBatch = false }
        var chunks: [StreamedChunk] = []
        for (index, frame) in try clip(9).enumerated() {
            chunks += try stream.push(
                TimedFrame(frame, captureTime: start + .seconds(10 * index))
            )
        }
        #expect(chunks.map(\.latency) == [60, 20])
        #expect(chunks.map(\.captureTimes.count) == [5, 4])
        #expect(stream.latencies.count == 2 && stream.latencies.percentile(1) == 60)
    }

    /// Streams with other budgets, side by side in one process, leave each other and their callers alone.
    @Test func aBudgetIsOneStreams() throws {
        let clip = try clip(13)
        let before = ComputeBudget.current
        let budgets = [ComputeBudget(threads: 1), ComputeBudget(threads: 6)]
        let seen = ThreadCounts()
        let group = DispatchGroup()
        for budget in budgets {
            let stream = try self.stream(budget: budget)
            let source = Source(clip)
            group.enter()
            Thread {
                defer { group.leave() }
                let callers = ComputeBudget.current
                do {
                    let counted = StreamSource(next: {
                        seen.note(Engine.threads, of: budget)
                        return source.next()
                    })
                    try stream.run(counted) { _ in true }
                } catch {
                    Issue.record(error)
                }
                #expect(ComputeBudget.current == callers)
            }.start()
        }
        group.wait()
        // All of it before the first chunk is through, and half from then on.
        #expect(seen.counts == [1: [1], 6: [6, 3]])
        #expect(ComputeBudget.current == before)
    }

    @Test func aSizeThatDoesNotFitIsRefusedWithOneThatDoes() throws {
        for (width, height) in [(65, 48), (0, 48), (64, -16), (1 << 40, 16)] {
            let error = #expect(throws: SwanError.self) {
                try self.stream { ($0.height, $0.width) = (height, width) }
            }
            #expect(error?.message.contains("multiples of 16") ?? false)
        }
    }

    @Test func anEmptyPromptIsRefusedAndALongOneIsCut() throws {
        #expect(throws: (any Error).self) { try self.stream(prompt: "  ") }
        let stream = try self.stream(prompt: String(repeating: "sketch ", count: 15_000))
        #expect(stream.promptIssues.count == 1)
    }

    // MARK: - Fixtures

    private func stream(
        prompt: String = "a pencil sketch",
        on device: Device = .cpu,
        budget: ComputeBudget = .current,
        clock: StreamClock = .continuous,
        _ change: (inout StreamOptions) -> Void = { _ in }
    ) throws -> VideoStream {
        let folder = try TemporaryDirectory()
        try TinyModel.write(to: folder.url.path)
        let model = try StreamModel.load(folder.url.path, dtype: .float32, device: device)
        var options = StreamOptions(model.configuration, height: 48, width: 64)
        change(&options)
        return try VideoStream(
            model,
            prompt: prompt,
            options: options,
            budget: budget,
            clock: clock
        )
    }

    private func run(_ stream: VideoStream, _ clip: [VideoFrame]) throws -> [VideoFrame] {
        var out: [VideoFrame] = []
        for frame in clip { out += try stream.push(frame) }
        return try out + stream.finish()
    }

    private func clip(_ count: Int) throws -> [VideoFrame] {
        try (0..<count).map { try picture(width: 64, height: 48, shade: UInt8($0 * 9 % 256)) }
    }

    private func picture(width: Int, height: Int, shade: UInt8) throws -> VideoFrame {
        let pixels = (0..<width * height * 3).map { UInt8(truncatingIfNeeded: $0 / 3) ^ shade }
        return try VideoFrame(width: width, height: height, pixels: pixels)
    }
}

/// Frames one after the other, for another thread.
private final class Source: Sendable {
    private let frames: Mutex<ArraySlice<VideoFrame>>

    init(_ frames: [VideoFrame]) { self.frames = Mutex(frames[...]) }

    func next() -> TimedFrame? { frames.withLock { $0.popFirst() }.map { TimedFrame($0) } }
}

/// The same frame for ever, which counts how often it was asked for.
private final class Endless: AsyncSequence, Sendable {
    let pulled = Atomic(0)
    /// Whether its iteration was let go.
    let isOver = Atomic(false)
    private let frame: VideoFrame

    init(_ frame: VideoFrame) { self.frame = frame }

    func makeAsyncIterator() -> Iterator { Iterator(self) }

    final class Iterator: AsyncIteratorProtocol {
        private let sequence: Endless

        init(_ sequence: Endless) { self.sequence = sequence }

        deinit { sequence.isOver.store(true, ordering: .relaxed) }

        func next() async -> VideoFrame? {
            sequence.pulled.add(1, ordering: .relaxed)
            return sequence.frame
        }
    }
}

/// How many threads operators had, by the budget of their stream.
private final class ThreadCounts: Sendable {
    private let seen = Mutex<[Int: Set<Int>]>([:])

    var counts: [Int: Set<Int>] { seen.withLock { $0 } }

    func note(_ threads: Int, of budget: ComputeBudget) {
        seen.withLock { _ = $0[budget.threads, default: []].insert(threads) }
    }
}
