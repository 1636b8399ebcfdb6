import SwanMedia
import Testing

@testable import SwanPipelines
@testable import SwanServer

/// What a session measures and when it sends its frames.
@Suite struct SessionTests {
    private let start = ContinuousClock.now

    // MARK: - Presentation

    @Test func pacedFramesHaveEvenIntervals() {
        var pacer = FramePacer(framesPerSecond: 8, framesPerChunk: 4)
        let times = (0..<8).map { index in
            // Four frames come at once, every half second.
            pacer.next(now: start + .milliseconds(500 * (index / 4)), waiting: 3 - index % 4)
        }
        for (a, b) in zip(times, times.dropFirst()) { #expect(b - a == .milliseconds(125)) }
    }

    @Test func aDelayIsMadeUpFor() {
        var pacer = FramePacer(framesPerSecond: 8, framesPerChunk: 4)
        let first = pacer.next(now: start, waiting: 20)
        #expect(pacer.next(now: start, waiting: 19) - first == .milliseconds(100))
        // After a gap, intervals count from the late frame.
        let late = start + .seconds(9)
        #expect(pacer.next(now: late, waiting: 0) == late)
        #expect(pacer.next(now: late, waiting: 0) == late + .milliseconds(125))
    }

    // MARK: - Measurements

    private func chunk(
        _ index: Int,
        event: UInt32 = 0,
        isLate: Bool = false
    ) throws -> RestyledChunk {
        let frame = try RestyledFrame(
            frame: VideoFrame(width: 1, height: 1, pixels: [0, 0, 0]),
            sequence: 0,
            captureTime: 0,
            arrival: start
        )
        return RestyledChunk(
            frames: Array(repeating: frame, count: 4),
            index: index,
            event: event,
            seconds: .init(),
            latency: 0.1,
            isLate: isLate,
            usesBatch: index > 1
        )
    }

    @Test func aSessionThatKeepsItsRateHasAFactorOfOne() throws {
        var meter = SessionMeter(framesPerSecond: 16)
        meter.begin(at: start)
        for index in 0..<9 {
            let now = start + .milliseconds(400 + 250 * index)
            _ = meter.add(try chunk(index, isLate: index == 3), compress: 0.01, now: now)
        }
        let stats = meter.report(received: 36, dropped: 0, outboxDropped: 0, sessions: 1)
        #expect(stats.realTimeFactor == 1 && stats.timeToFirstChunkMs == 400)
        #expect(stats.deadlinesMissed == 1 && stats.deadlineAttainment == 0.8889)
        #expect(stats.underruns == 0 && stats.mode == .batch)
        #expect(
            abs(stats.chunkIntervalMs.p50 - 250) < 5 && abs(stats.chunkIntervalMs.p99 - 250) < 5
        )
    }

    /// What waited during a pause tells nothing about the model.
    @Test func pausesAreNotMeasured() throws {
        var meter = SessionMeter(framesPerSecond: 16)
        meter.begin(at: start)
        _ = meter.add(try chunk(0), compress: 0, now: start + .milliseconds(100))
        let second = meter.add(try chunk(1), compress: 0, now: start + .milliseconds(350))
        #expect(second.interval == 0.25 && second.realTimeFactor == 1)
        #expect(second.latencies.count == 4)
        meter.pause()
        meter.resume(at: start + .seconds(60))
        // Its frames arrived before the pause.
        let third = meter.add(try chunk(2), compress: 0, now: start + .seconds(61))
        #expect(third.interval == nil && third.latencies.isEmpty && !third.isUnderrun)
        let stats = meter.report(received: 12, dropped: 0, outboxDropped: 0, sessions: 1)
        #expect(stats.realTimeFactor == 1 && stats.latencyMs.p99 < 1_000)
        #expect(stats.chunkIntervalMs.p99 < 260)
    }

    /// A chunk that was under way is done during the pause.
    @Test func aChunkOfAPauseDoesNotMeasureIt() throws {
        var meter = SessionMeter(framesPerSecond: 16)
        meter.begin(at: start)
        for (index, milliseconds) in [100, 350].enumerated() {
            _ = meter.add(
                try chunk(index),
                compress: 0,
                now: start + .milliseconds(milliseconds)
            )
        }
        meter.pause(at: start + .milliseconds(400))
        _ = meter.add(try chunk(2), compress: 0, now: start + .milliseconds(600))
        meter.resume(at: start + .seconds(8))
        let next = meter.add(try chunk(3), compress: 0, now: start + .milliseconds(8_400))
        #expect(next.interval == nil && next.realTimeFactor == nil && !next.isUnderrun)
        let stats = meter.report(received: 16, dropped: 0, outboxDropped: 0, sessions: 1)
        #expect(stats.realTimeFactor == 1 && stats.underruns == 0)
        #expect(stats.chunkIntervalMs.p99 < 260)
    }

    @Test func theTimeToTheFirstChunkHasNoPause() throws {
        var meter = SessionMeter(framesPerSecond: 16)
        meter.begin(at: start)
        meter.pause(at: start + .milliseconds(100))
        // An update during the pause.
        meter.pause(at: start + .seconds(3))
        meter.resume(at: start + .seconds(9))
        let first = meter.add(try chunk(0), compress: 0, now: start + .milliseconds(9_200))
        #expect(first.untilFirstChunk == 0.3)
    }

    /// Rates are those of about a second, also for someone who asks again at once.
    @Test func reportsDoNotShortenTheTimeOfRates() {
        var meter = SessionMeter(framesPerSecond: 16)
        func rate(_ received: Int, _ milliseconds: Int) -> Double {
            let now = start + .milliseconds(milliseconds)
            return meter.report(
                received: received,
                dropped: 0,
                outboxDropped: 0,
                sessions: 1,
                now: now
            ).fpsIn
        }
        #expect(abs(rate(20, 2_000) - 10) < 0.5)
        #expect(abs(rate(21, 2_010) - 10) < 0.5)
        #expect(rate(40, 3_000) == 20)
    }

    /// Drops are counted as they happen, without anyone who asks for statistics.
    @Test func dropsAreCounted() throws {
        let metrics = ServerMetrics()
        let session = LiveSession(
            "a",
            StartMessage(StreamChange(), framesPerSecond: 16, source: nil),
            framesPerSecond: 16,
            credit: 16,
            maxPixels: 100,
            metrics: SessionMetrics(metrics)
        )
        session.attach(Outbox(frameCapacity: 1))
        session.take(.chunk(try chunk(0)))
        #expect(metrics.text.contains("swan_frames_dropped_total{reason=\"outbox\"} 3\n"))
        #expect(metrics.text.contains("swan_chunks_total 1\n"))
        session.take(.skipped(sequence: 4, MessageError("a", "b")))
        session.attach(Outbox(frameCapacity: 1))
        session.take(.ended(nil))
        #expect(metrics.text.contains("swan_frames_dropped_total{reason=\"damaged\"} 1\n"))
        #expect(metrics.text.contains("swan_frames_dropped_total{reason=\"outbox\"} 3\n"))
    }

    /// The effect of a change without a number is not known.
    @Test func onlyNumberedChangesAreMeasured() throws {
        let metrics = ServerMetrics()
        let session = SessionMetrics(metrics)
        session.changed(0)
        session.add(try chunk(0), ChunkMeasures(), compress: 0)
        #expect(!metrics.text.contains("swan_prompt_to_effect_seconds_count"))
        session.changed(3)
        session.add(try chunk(1, event: 3), ChunkMeasures(), compress: 0)
        #expect(metrics.text.contains("swan_prompt_to_effect_seconds_count 1\n"))
    }

    /// Frames of H.264 that a lost client did not get are useless to the next one: they are counted, and
    /// their credit is free again.
    @Test func lostFramesOfALosslessSessionAreCounted() async throws {
        var start = StartMessage(StreamChange(), framesPerSecond: 16, source: nil)
        start.presentation = .lossless
        let session = LiveSession(
            "a",
            start,
            framesPerSecond: 16,
            credit: 16,
            maxPixels: 100,
            metrics: SessionMetrics(ServerMetrics())
        )
        func frame(_ codec: FrameHeader.Codec, _ sequence: UInt32, isKey: Bool) -> OutputFrame {
            var header = FrameHeader(codec, sequence: sequence, captureTime: 0, width: 1, height: 1)
            header.isKeyFrame = isKey
            return OutputFrame(header: header, picture: [], arrival: self.start)
        }
        func waiting(_ outbox: Outbox) -> [UInt32] { outbox.takeFrames().map(\.header.sequence) }
        let first = Outbox(frameCapacity: .max)
        session.attach(first)
        first.put([
            frame(.h264, 0, isKey: true), frame(.h264, 1, isKey: false),
            frame(.h264, 2, isKey: false), frame(.jpeg, 3, isKey: true),
        ])
        session.detach(first)
        #expect(session.settled == 2)
        #expect(session.stats(sessions: 1).dropped.outbox == 2)
        // What is restyled meanwhile is kept, too.
        session.take(.chunk(try chunk(0)))
        let second = Outbox(frameCapacity: .max)
        session.attach(second)
        #expect(waiting(second) == [0, 3, 0, 0, 0, 0])
        // A client that takes the session over gets what the other one has not got.
        second.put([frame(.h264, 4, isKey: false), frame(.jpeg, 5, isKey: true)])
        let third = Outbox(frameCapacity: .max)
        session.attach(third)
        #expect(waiting(third) == [5])
        #expect(session.settled == 3 && session.stats(sessions: 1).dropped.outbox == 3)
    }

    @Test func underrunsAreCountedOnce() {
        var viewer = SimulatedViewer(framesPerSecond: 16)
        // A chunk lasts 250 ms, and another is kept.
        for milliseconds in [0, 250, 500, 1_000, 2_000, 2_250] {
            viewer.add(frames: 4, at: start + .milliseconds(milliseconds))
        }
        #expect(viewer.underruns == 1)
        viewer.pause()
        viewer.add(frames: 4, at: start + .seconds(60))
        #expect(viewer.underruns == 1)
    }

    @Test func histogramsCountAllDurations() {
        var histogram = LatencyHistogram()
        #expect(histogram.milliseconds(0.5) == 0)
        for milliseconds in 1...100 { histogram.add(.milliseconds(milliseconds)) }
        #expect(abs(histogram.milliseconds(0.5) - 50) < 1.5)
        #expect(abs(histogram.milliseconds(0.99) - 99) < 1.5)
        histogram.add(.seconds(-1))
        histogram.add(.seconds(100_000))
        #expect(histogram.milliseconds(1) >= 3_590_000)
    }
}
