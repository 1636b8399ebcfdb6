import Foundation
import GoldenSupport
import SwanMedia
import SwanSystem
import SwanThreads
import Testing

@testable import SwanPipelines

/// When the frames of a live stream are taken and shown. Times are given, not measured.
@Suite struct LiveTimingTests {
    private let start = ContinuousClock.now

    private func at(_ seconds: Double) -> ContinuousClock.Instant { start + .seconds(seconds) }

    private func seconds(_ times: [ContinuousClock.Instant]) -> [Double] {
        times.map { ($0 - start).seconds }
    }

    @Test func chunksAreShownAtEvenIntervals() {
        var pacer = FramePacer(.asTheyCome, rate: 16)
        var shown: [Double] = []
        // Chunks of four that come every quarter of a second, early or late by up to 50 ms.
        for chunk in 0..<40 {
            let jitter = [0, 0.05, -0.05, 0.02][chunk % 4]
            shown += seconds(pacer.due(4, at(Double(chunk) * 0.25 + 0.1 + jitter)))
        }
        let gaps = zip(shown.dropFirst(), shown).map { $0 - $1 }
        #expect(gaps.allSatisfy { $0 > 0.03 && $0 < 0.13 }, "\(gaps)")
        // Nothing piles up: the last frame is shown soon after its chunk came.
        #expect((shown.last ?? 0) < 39 * 0.25 + 0.1 + 0.5)
    }

    @Test func aBacklogIsWorkedOff() {
        var pacer = FramePacer(.asTheyCome, rate: 10)
        // Three chunks at once, after a stall; then one every 0.4 seconds.
        var delays: [Double] = []
        for time in [0, 0.01, 0.02] + (1...20).map({ 0.4 * Double($0) }) {
            let due = seconds(pacer.due(4, at(time)))
            delays.append((due.first ?? 0) - time)
        }
        #expect(delays.max() ?? 0 < 1)
        #expect(delays.last ?? 1 < 0.3, "\(delays)")
    }

    @Test func filesKeepTheirRate() {
        var pacer = FramePacer(.constant, rate: 10)
        let first = seconds(pacer.due(5, at(0)))
        let second = seconds(pacer.due(4, at(0.1)))
        for (index, time) in (first + second).enumerated() {
            #expect(abs(time - Double(index) / 10) < 1e-9)
        }
        // A chunk that comes late is shown at once.
        let late = seconds(pacer.due(4, at(9)))
        #expect(abs((late.first ?? 0) - 9) < 1e-9)
    }

    @Test func aFastStreamTakesEveryFrame() {
        var thinner = FrameThinner(sourceRate: 30, limit: nil)
        for frame in 0..<300 {
            let now = at(Double(frame) / 30)
            thinner.note(passed: frame, dropped: 0, now)
            let isTaken = thinner.takes(now)
            #expect(isTaken)
        }
        #expect(thinner.thinnedFrames == 0)
    }

    /// A stream that takes 12 of 30 frames a second, from an inbox of four.
    @Test func aSlowStreamTakesFramesAtEvenIntervals() {
        var thinner = FrameThinner(sourceRate: 30, limit: nil)
        var (waiting, passed, dropped) = (0, 0, 0)
        var taken: [Int] = []
        for frame in 0..<1_200 {
            let now = at(Double(frame) / 30)
            if frame % 10 == 0 {
                passed += waiting
                waiting = 0
            }
            thinner.note(passed: passed, dropped: dropped, now)
            guard thinner.takes(now) else { continue }
            taken.append(frame)
            dropped += waiting == 4 ? 1 : 0
            waiting = min(4, waiting + 1)
        }
        let late = taken.filter { $0 >= 300 }
        let gaps = zip(late.dropFirst(), late).map { $0 - $1 }
        #expect(gaps.allSatisfy { (1...4).contains($0) })
        #expect(Double(gaps.filter { $0 == 2 || $0 == 3 }.count) > 0.9 * Double(gaps.count))
        #expect(thinner.thinnedFrames > 500)
        #expect(thinner.thinnedFrames + taken.count == 1_200)
    }

    @Test func aPauseIsNotASlowStream() {
        var thinner = FrameThinner(sourceRate: 30, limit: nil)
        for frame in 0..<40 { thinner.note(passed: frame, dropped: 0, at(Double(frame) / 30)) }
        thinner.note(passed: 40, dropped: 1, at(60))
        #expect(thinner.target == nil)
    }

    @Test func aLimitIsNoDrop() {
        var thinner = FrameThinner(sourceRate: 30, limit: 10)
        let taken = (0..<300).filter { thinner.takes(at(Double($0) / 30)) }
        #expect((99...101).contains(taken.count))
        #expect(thinner.thinnedFrames == 0)
        var slower = FrameThinner(sourceRate: 10, limit: 30)
        let all = (0..<100).filter { slower.takes(at(Double($0) / 10)) }
        #expect(all.count == 100)
    }

    @Test func ratesCountTheLastTwoSeconds() {
        var meter = RateMeter()
        for frame in 0..<600 { meter.add(at(Double(frame) / 30)) }
        let (now, later) = (meter.rate(at(20)), meter.rate(at(30)))
        #expect(abs(now - 30) < 1)
        #expect(later == 0)
    }

    @Test func latenciesAreOfTheLastHundredFrames() {
        var meter = LatencyMeter()
        for _ in 0..<500 { meter.add(5) }
        for frame in 0..<100 { meter.add(Double(frame) / 100) }
        #expect(meter.percentiles?.p50 == 0.5)
        #expect(meter.percentiles?.p95 == 0.95)
        #expect(meter.all.count == 600)
    }
}

/// Sources that are opened by name.
@Suite struct VideoSourceTests {
    private func clip(_ folder: borrowing TemporaryDirectory, frames: Int) throws -> String {
        let path = folder.path("clip.y4m")
        let rate = try #require(Rational(25))
        let writer = try VideoWriter(path: path, width: 32, height: 16, frameRate: rate)
        for index in 0..<frames {
            let pixels = [UInt8](repeating: UInt8(index), count: 3 * 32 * 16)
            try writer.append(VideoFrame(width: 32, height: 16, pixels: pixels))
        }
        try writer.finish()
        return path
    }

    @Test func filesPassEveryFrame() throws {
        let folder = try TemporaryDirectory()
        let source = try VideoSource.open(named: clip(folder, frames: 90))
        try source.start()
        var count = 0
        while source.next() != nil { count += 1 }
        #expect(count == 90)
        #expect(source.framesPassed == 90)
        #expect(!source.isLive)
        #expect(source.drops.total == 0)
        #expect(source.loss == nil)
    }

    @Test func framesAreLimited() throws {
        let folder = try TemporaryDirectory()
        var options = VideoSource.Options()
        options.maxFrames = 7
        let source = try VideoSource.open(named: clip(folder, frames: 90), options: options)
        try source.start()
        var count = 0
        while source.next() != nil { count += 1 }
        #expect(count == 7)
        source.close()
        source.wait()
    }

    @Test func liveSourcesDropWhatNobodyTakes() throws {
        let folder = try TemporaryDirectory()
        var options = VideoSource.Options()
        options.isLive = true
        let source = try VideoSource.open(named: clip(folder, frames: 90), options: options)
        source.accept()
        try source.start()
        source.wait()
        var last: VideoFrame?
        var count = 0
        while let frame = source.next() { (last, count) = (frame.frame, count + 1) }
        #expect(count == 4)
        #expect(source.drops.busy == 86)
        // The newest ones are kept.
        #expect(abs(Int(last?.pixels.first ?? 0) - 89) < 3)
    }

    @Test func framesBeforeTheStreamAndInPausesAreCounted() throws {
        let folder = try TemporaryDirectory()
        var options = VideoSource.Options()
        options.isLive = true
        let path = try clip(folder, frames: 20)
        let early = try VideoSource.open(named: path, options: options)
        try early.start()
        early.wait()
        // The newest ones wait for the stream.
        #expect(early.drops.starting == 16)
        early.accept()
        var waiting = 0
        while early.next() != nil { waiting += 1 }
        #expect(waiting == 4)
        #expect(early.drops.total == 16)
        let paused = try VideoSource.open(named: path, options: options)
        paused.accept()
        paused.isPaused = true
        try paused.start()
        paused.wait()
        #expect(paused.drops.paused == 20)
        #expect(paused.next() == nil)
    }

    @Test func unknownNamesAreErrors() throws {
        #expect(throws: SwanError.self) { try VideoSource.open(named: "gopher://host/a") }
        let error = #expect(throws: SwanError.self) { try VideoSource.open(named: "nothing.mp4") }
        #expect(error?.code == .noSuchFile)
    }

    @Test func requestsAreChecked() throws {
        var stream = FileStreamRequest(input: nil, output: "", prompt: "a")
        stream.maxFrames = 8
        #expect(throws: SwanError.self) {
            try LiveStreamRequest(stream, output: "udp://h:1").check()
        }
        stream.input = "/dev/video0"
        #expect(throws: SwanError.self) { try LiveStreamRequest(stream, output: nil).check() }
        var window = LiveStreamRequest(stream, output: nil)
        window.showsWindow = true
        try window.check()
        window.reconnectSeconds = -1
        #expect(throws: SwanError.self) { try window.check() }
        #expect(try LiveStreamRequest.isNeeded(input: "in.mp4", output: "srt://host:1"))
        #expect(try !LiveStreamRequest.isNeeded(input: "-", output: "out.mp4"))
    }
}

/// What files do with the frames of live sources.
@Suite struct FileReceiverTests {
    @Test func framesThatComeTooFastHaveNoPlace() throws {
        let folder = try TemporaryDirectory()
        let path = folder.path("out.mp4")
        let rate = try #require(Rational(10))
        let writer = try VideoWriter(path: path, width: 32, height: 16, frameRate: rate)
        let receiver = FileReceiver(writer, rate: 10, keepsTime: true) { false }
        let start = ContinuousClock.now
        let pixels = [UInt8](repeating: 99, count: 3 * 32 * 16)
        let frame = try VideoFrame(width: 32, height: 16, pixels: pixels)
        let shown = try [0, 0.001, 0.002, 0.1, 0.101].map { seconds in
            let captured = ShownFrame(
                frame: frame,
                captureTime: start + .seconds(seconds),
                due: nil
            )
            return try receiver.show(captured, at: start)
        }
        try receiver.finish()
        #expect(shown == [true, false, false, true, false])
        #expect(writer.frameCount == 2)
    }

    @Test func theyAreDrops() throws {
        let folder = try TemporaryDirectory()
        let rate = try #require(Rational(10))
        let writer = try VideoWriter(
            path: folder.path("out.mp4"),
            width: 32,
            height: 16,
            frameRate: rate
        )
        let figures = LiveFigures()
        let output = LiveOutput(.wait, rate: 10, capacity: 8, figures: figures) {
            FileReceiver(writer, rate: 10, keepsTime: true) { false }
        }
        let threads = WorkerThreads()
        try output.start(threads) {}
        let pixels = [UInt8](repeating: 99, count: 3 * 32 * 16)
        let frame = try VideoFrame(width: 32, height: 16, pixels: pixels)
        let now = ContinuousClock.now
        let chunk = StreamedChunk(
            frames: Array(repeating: frame, count: 4),
            captureTimes: Array(repeating: now, count: 4),
            seconds: StageSeconds(),
            latency: 0
        )
        #expect(output.put(chunk))
        output.close()
        threads.wait()
        #expect(output.earlyFrames == 3)
        #expect(figures.shown == 1)
        var drops = FrameDrops()
        drops.early = 3
        #expect(drops.total == 3)
    }
}
