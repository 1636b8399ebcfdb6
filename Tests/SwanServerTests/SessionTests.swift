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

    private func chunk(_ index: Int, isLate: Bool = false) throws -> RestyledChunk {
        let frame = try RestyledFrame(
            frame: VideoFrame(width: 1, height: 1, pixels: [0, 0, 0]),
            sequence: 0,
            captureTime: 0,
            arrival: start
        )
        return RestyledChunk(
            frames: Array(repeating: frame, count: 4),
            index: index,
            event: 0,
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
