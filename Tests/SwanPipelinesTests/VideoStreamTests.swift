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

/// Whole streams with random weights: frame counts, seeds, prompts, chunks and threads.
@Suite struct VideoStreamTests {
    @Test(arguments: [1, 2, 4, 5, 6, 9, 13, 22], [true, false])
    func keepsTheNumberOfFrames(count: Int, streamBatch: Bool) throws {
        let stream = try self.stream { $0.settings.streamBatch = streamBatch }
        let out = try run(stream, clip(count))
        #expect(out.count == count)
        #expect(stream.framesOut == count)
        #expect(out.allSatisfy { $0.width == 64 && $0.height == 48 })
    }

    @Test(arguments: Device.tested) func theSeedDeterminesTheVideo(device: Device) throws {
        let clip = try clip(14)
        let first = try run(stream(on: device) { $0.settings.seed = 7 }, clip)
        let again = try run(stream(on: device) { $0.settings.seed = 7 }, clip)
        let other = try run(stream(on: device) { $0.settings.seed = 8 }, clip)
        #expect(first.map(\.pixels) == again.map(\.pixels))
        #expect(first.map(\.pixels) != other.map(\.pixels))
    }

    @Test func newPromptsTakeEffectAtTheNextChunk() throws {
        let clip = try clip(21)
        let plain = try run(stream(), clip)
        let stream = try self.stream()
        var changed: [VideoFrame] = []
        for (index, frame) in clip.enumerated() {
            if index == 11 { try stream.setPrompt("neon edges") }
            changed += try stream.push(frame)
        }
        changed += try stream.finish()
        // Frames 9..<13 form the chunk that was being filled. With two steps, one more is pending.
        #expect(plain.prefix(5).map(\.pixels) == changed.prefix(5).map(\.pixels))
        #expect(plain.suffix(4).map(\.pixels) != changed.suffix(4).map(\.pixels))
    }

    @Test(arguments: Device.tested) func resizesFramesOfAnySize(device: Device) throws {
        let frames = try (0..<6).map { _ in try picture(width: 101, height: 77, shade: 90) }
        #expect(try run(stream(on: device), frames).count == 6)
    }

    @Test func chunksGrowToReachTheTargetRate() throws {
        let stream = try self.stream {
            ($0.configuration.cacheFrames, $0.configuration.sinkFrames) = (6, 1)
            $0.settings.targetFPS = 1e9
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

    @Test func generatesFromNoiseWithoutInput() throws {
        let stream = try self.stream()
        let first = try stream.generate().count
        #expect(first == 1)
        for _ in 0..<6 { #expect(try stream.generate().count == 4) }
    }

    @Test func supportsLargerBlocks() throws {
        let stream = try self.stream {
            ($0.configuration.framesPerBlock, $0.configuration.cacheFrames) = (3, 9)
        }
        #expect(try run(stream, clip(40)).count == 40)
    }

    /// Concurrent stages give the same result as sequential ones.
    @Test(arguments: [1, 5, 6, 23], [true, false])
    func concurrentStagesEqualSequentialOnes(count: Int, streamBatch: Bool) throws {
        let clip = try clip(count)
        let expected = try run(stream { $0.settings.streamBatch = streamBatch }, clip)
        let stream = try self.stream { $0.settings.streamBatch = streamBatch }
        let source = Source(clip)
        var out: [VideoFrame] = []
        try stream.run(StreamSource(next: { source.next() })) {
            out += $0.frames; return true
        }
        // Operators run with different numbers of threads, so sums round differently.
        let differences = zip(out, expected).map { a, b in
            zip(a.pixels, b.pixels).map { abs(Int($0) - Int($1)) }.max() ?? 0
        }
        #expect(differences.count == count && differences.allSatisfy { $0 <= 2 })
        #expect(stream.framesIn == count && stream.framesOut == count)
    }

    @Test func concurrentStagesEndWithTheSourceTheReaderOrAnError() throws {
        let stopped = try self.stream()
        let source = Source(try clip(17))
        var count = 0
        try stopped.run(StreamSource(next: { source.next() }, isStopped: { true })) {
            count += $0.frames.count; return true
        }
        // The last chunk is still pending and is dropped.
        #expect(count == 13)

        // The reader stops while the source waits for a frame that never comes.
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
    func concurrentStagesGenerateFromTextAlone(streamBatch: Bool) throws {
        let expected = try stream { $0.settings.streamBatch = streamBatch }
        let first = try expected.generate() + expected.generate() + expected.generate()
        let stream = try self.stream { $0.settings.streamBatch = streamBatch }
        var out: [VideoFrame] = []
        try stream.generate(atLeast: 9, willStart: { _ in }, isStopped: { false }) {
            out += $0.frames
            return true
        }
        #expect(out.count == 9)
        #expect(out.first?.pixels == first.first?.pixels)
    }

    @Test func streamsAnAsyncSequence() async throws {
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

    @Test func chunksKeepCaptureTimes() async throws {
        let start = ContinuousClock.now
        let timed = try clip(11).enumerated().map {
            TimedFrame($1, captureTime: start + .seconds($0))
        }
        let source = AsyncStream { continuation in
            for frame in timed { continuation.yield(frame) }
            continuation.finish()
        }
        var times: [ContinuousClock.Instant] = []
        for try await chunk in try stream().chunks(from: source) { times += chunk.captureTimes }
        #expect(times == timed.map(\.captureTime))
    }

    /// An unread sequence takes only as many frames as it can hold. A discarded one ends its
    /// stream.
    @Test(.timeLimit(.minutes(5))) func sequencesAreBounded() async throws {
        let endless = Endless(try picture(width: 64, height: 48, shade: 3))
        var count = 0
        for try await _ in try stream().frames(from: endless) {
            count += 1
            if count == 3 { break }
        }
        // The frames that were taken are in the queues and the stages.
        #expect(endless.pulled.load(ordering: .relaxed) < 100)
        while !endless.isOver.load(ordering: .relaxed) {
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    @Test func sourceErrorsEndTheSequence() async throws {
        let clip = try clip(6)
        let source = AsyncThrowingStream<VideoFrame, any Error> { continuation in
            for frame in clip { continuation.yield(frame) }
            continuation.finish(throwing: SwanError(.invalidRequest, "broken"))
        }
        let restyled = try stream().frames(from: source)
        await #expect(throws: SwanError.self) { for try await _ in restyled {} }
    }

    /// If a live source is faster than the stream, frames are dropped and counted, and the rest
    /// come out.
    @Test func fullInboxesDropTheOldestFrames() throws {
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
        // The newest frames, each with its own time.
        #expect(times == (35..<40).map { start + .seconds($0) })
        #expect(stream.framesOut == 5)
        #expect(!inbox.put(TimedFrame(try picture(width: 64, height: 48, shade: 1))))
    }

    /// Latency is measured from the capture of a chunk's last frame, with the stream's clock.
    @Test func measuresLatencyFromTheCapture() throws {
        let start = ContinuousClock.now
        let clock = StreamClock { start + .seconds(100) }
        let stream = try self.stream(clock: clock) { $0.settings.streamBatch = false }
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

    /// Concurrent streams with different budgets do not affect each other or their callers.
    @Test func budgetsAreSeparate() throws {
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
        // The whole budget until the first chunk is done, then half of it.
        #expect(seen.counts == [1: [1], 6: [6, 3]])
        #expect(ComputeBudget.current == before)
    }

    @Test func refusesInvalidSizes() throws {
        for (width, height) in [(65, 48), (0, 48), (64, -16), (1 << 40, 16)] {
            let error = #expect(throws: SwanError.self) {
                try self.stream { ($0.height, $0.width) = (height, width) }
            }
            #expect(error?.message.contains("multiples of 16") ?? false)
        }
    }

    @Test func refusesEmptyPromptsAndTruncatesLongOnes() throws {
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

/// A list of frames that another thread reads.
private final class Source: Sendable {
    private let frames: Mutex<ArraySlice<VideoFrame>>

    init(_ frames: [VideoFrame]) { self.frames = Mutex(frames[...]) }

    func next() -> TimedFrame? { frames.withLock { $0.popFirst() }.map { TimedFrame($0) } }
}

/// An endless sequence of one frame that counts the requests.
private final class Endless: AsyncSequence, Sendable {
    let pulled = Atomic(0)
    /// Whether its iterator was released.
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

/// The numbers of threads that operators had, by the budget of their stream.
private final class ThreadCounts: Sendable {
    private let seen = Mutex<[Int: Set<Int>]>([:])

    var counts: [Int: Set<Int>] { seen.withLock { $0 } }

    func note(_ threads: Int, of budget: ComputeBudget) {
        seen.withLock { _ = $0[budget.threads, default: []].insert(threads) }
    }
}
