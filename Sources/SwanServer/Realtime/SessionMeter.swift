import SwanPipelines

/// What was measured of one chunk, in seconds.
struct ChunkMeasures {
    /// From the arrival of each frame until it was restyled; none of frames that waited in a pause.
    var latencies: [Double] = []
    /// From the first frame until the session's first chunk.
    var untilFirstChunk: Double?
    /// From the previous chunk to this one; nil after a pause.
    var interval: Double?
    /// The playing time of the chunk over the interval.
    var realTimeFactor: Double?
    /// Whether a viewer had no frame to show before it.
    var isUnderrun = false
}

/// The measurements of a session; protected by its lock.
struct SessionMeter {
    private var latencies = LatencyHistogram()
    private var intervals = LatencyHistogram()
    private var stages = SessionStats.Stages()
    private var viewer: SimulatedViewer
    private let framesPerSecond: Double
    private var chunks = 0, lastChunk = 0
    private var framesOut = 0
    private var missed = 0
    private var usesBatch = false
    private var firstChunkSeconds: Double?
    /// When the first frame arrived, when the newest chunk was done, and when the last pause ended.
    private var begin, newestDone, resumed: ContinuousClock.Instant?
    /// The seconds of all intervals between chunks, and the playing time of the chunks at their ends.
    private var spent = 0.0, played = 0.0
    var damaged = 0
    /// The least seconds over which rates are measured: reports may come at any time.
    private static let leastRateSeconds = 0.9
    /// The counts when the rates were measured last.
    private var last: (time: ContinuousClock.Instant, framesIn: Int, framesOut: Int)
    private var rates = (framesIn: 0.0, framesOut: 0.0)

    init(framesPerSecond: Double) {
        self.framesPerSecond = framesPerSecond
        viewer = SimulatedViewer(framesPerSecond: framesPerSecond)
        last = (.now, 0, 0)
    }

    /// Notes that the session has frames to work on.
    mutating func begin(at now: ContinuousClock.Instant = .now) { begin = begin ?? now }

    /// Notes that the session pauses: what follows is not late.
    mutating func pause() {
        viewer.pause()
        newestDone = nil
    }

    /// Notes that a pause ends: what arrived before it waited for that.
    mutating func resume(at now: ContinuousClock.Instant = .now) { resumed = now }

    /// Adds a chunk, and returns what was measured of it.
    mutating func add(
        _ chunk: RestyledChunk,
        compress: Double,
        now: ContinuousClock.Instant = .now
    ) -> ChunkMeasures {
        var measures = ChunkMeasures()
        lastChunk = chunk.index + 1
        chunks += 1
        framesOut += chunk.frames.count
        for frame in chunk.frames where resumed.map({ $0 <= frame.arrival }) ?? true {
            latencies.add(now - frame.arrival)
            measures.latencies.append((now - frame.arrival) / .seconds(1))
        }
        if chunk.isLate { missed += 1 }
        usesBatch = chunk.usesBatch
        if chunks == 1 {
            firstChunkSeconds = begin.map { (now - $0) / .seconds(1) }
            measures.untilFirstChunk = firstChunkSeconds
        }
        if let newestDone, now > newestDone {
            intervals.add(now - newestDone)
            let (seconds, playing) = (
                (now - newestDone) / .seconds(1), Double(chunk.frames.count) / framesPerSecond
            )
            (spent, played) = (spent + seconds, played + playing)
            (measures.interval, measures.realTimeFactor) = (seconds, playing / seconds)
        }
        newestDone = now
        measures.isUnderrun = viewer.add(frames: chunk.frames.count, at: now)
        stages = SessionStats.Stages(chunk, compress: compress)
        return measures
    }

    /// The statistics; rates are over about the last second, whoever asks for them.
    mutating func report(
        received: Int,
        dropped: Int,
        outboxDropped: Int,
        sessions: Int,
        now: ContinuousClock.Instant = .now
    ) -> SessionStats {
        measureRates(received: received, now: now)
        var stats = SessionStats(latencyMs: .init(latencies), chunkIntervalMs: .init(intervals))
        (stats.fpsIn, stats.fpsOut) = rates
        (stats.framesIn, stats.framesOut) = (received, framesOut)
        stats.dropped = .init(inbox: dropped, outbox: outboxDropped, damaged: damaged)
        stats.deadlinesMissed = missed
        stats.deadlineAttainment =
            chunks > 0 ? rounded(1 - Double(missed) / Double(chunks), 1e4) : 1
        stats.underruns = viewer.underruns
        stats.realTimeFactor = realTimeFactor
        stats.timeToFirstChunkMs = firstChunkSeconds.map { rounded($0 * 1_000, 10) }
        stats.mode = usesBatch ? .batch : .steps
        stats.stagesMs = stages
        stats.chunk = lastChunk
        stats.sessions = sessions
        return stats
    }

    private mutating func measureRates(received: Int, now: ContinuousClock.Instant) {
        let seconds = (now - last.time) / .seconds(1)
        guard seconds >= Self.leastRateSeconds else { return }
        rates.framesIn = rounded(Double(received - last.framesIn) / seconds, 10)
        rates.framesOut = rounded(Double(framesOut - last.framesOut) / seconds, 10)
        last = (now, received, framesOut)
    }

    /// The seconds of video that came out, over the seconds in which they did, without pauses.
    private var realTimeFactor: Double? { spent > 0 ? rounded(played / spent, 1e3) : nil }
}

/// A viewer who shows frames at the session's rate and begins a chunk's time after the first ones came.
struct SimulatedViewer {
    private let framesPerSecond: Double
    /// When the frames that came so far will have been shown.
    private var end: ContinuousClock.Instant?
    /// The number of times that there was no frame to show.
    private(set) var underruns = 0

    init(framesPerSecond: Double) { self.framesPerSecond = framesPerSecond }

    /// Adds the frames of a chunk; returns whether there was no frame to show before them.
    @discardableResult
    mutating func add(frames: Int, at now: ContinuousClock.Instant) -> Bool {
        let duration = Duration.seconds(Double(frames) / framesPerSecond)
        guard let end, end >= now else {
            // One chunk is shown, another is kept for delays.
            defer { self.end = now + duration * 2 }
            guard end != nil else { return false }
            underruns += 1
            return true
        }
        // More than three chunks are not kept: a live viewer skips.
        self.end = min(end + duration, now + duration * 3)
        return false
    }

    /// Begins anew with the next chunk.
    mutating func pause() { end = nil }
}

extension LatencyHistogram {
    /// Adds a duration.
    mutating func add(_ duration: Duration) { add(duration / .seconds(1)) }

    /// The milliseconds that a share of all durations, 0 to 1, do not exceed; 0 if there are none.
    func milliseconds(_ share: Double) -> Double {
        rounded((percentile(share) ?? 0) * 1_000, 10)
    }
}

/// A number with as many digits as people read: to the next part of 1 / `parts`.
func rounded(_ value: Double, _ parts: Double) -> Double { (value * parts).rounded() / parts }
