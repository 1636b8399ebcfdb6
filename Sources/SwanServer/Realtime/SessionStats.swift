import SwanPipelines

/// What a session measured, as sent once a second and at `/v1/realtime/sessions/{id}/stats`.
struct SessionStats: Encodable, Sendable {
    /// Frames that were dropped, by cause.
    struct Dropped: Encodable, Sendable {
        /// The stream was busy: newer frames were taken.
        var inbox = 0
        /// The client read too slowly.
        var outbox = 0
        /// The picture could not be decoded.
        var damaged = 0
    }

    /// Percentiles in milliseconds.
    struct Percentiles: Encodable, Sendable {
        var p50 = 0.0, p95 = 0.0, p99 = 0.0

        init(_ histogram: LatencyHistogram) {
            func milliseconds(_ share: Double) -> Double {
                ((histogram.percentile(share) ?? 0) * 1e4).rounded() / 10
            }
            (p50, p95, p99) = (milliseconds(0.5), milliseconds(0.95), milliseconds(0.99))
        }
    }

    /// The time of the last chunk in each stage, in milliseconds.
    struct Stages: Encodable, Sendable {
        var queue = 0.0, encode = 0.0, denoise = 0.0, vaeDecode = 0.0, compress = 0.0
    }

    let type = "stats"
    var fpsIn = 0.0
    var fpsOut = 0.0
    var framesIn = 0
    var framesOut = 0
    var dropped = Dropped()
    /// From a frame's arrival until its restyled frame is ready to be sent.
    var latencyMs: Percentiles
    /// Of the chunks so far, those that took longer than two chunks' time.
    var deadlinesMissed = 0
    var stagesMs = Stages()
    var chunk = 0
    var sessions = 0
}

/// The measurements of a session; protected by its lock.
struct SessionMeter {
    private var latencies = LatencyHistogram()
    private var stages = SessionStats.Stages()
    private var chunks = 0
    private var framesOut = 0
    private var missed = 0
    var damaged = 0
    /// The counts at the last report.
    private var last: (time: ContinuousClock.Instant, framesIn: Int, framesOut: Int)

    init() { last = (.now, 0, 0) }

    mutating func add(
        _ chunk: RestyledChunk,
        compress: Double,
        chunkSeconds: Double
    ) {
        chunks = chunk.index + 1
        framesOut += chunk.frames.count
        let now = ContinuousClock.now
        for frame in chunk.frames { latencies.add((now - frame.arrival) / .seconds(1)) }
        if chunk.latency > 2 * chunkSeconds { missed += 1 }
        let seconds = chunk.seconds
        let busy = seconds.encode + seconds.denoise + seconds.decode
        func milliseconds(_ seconds: Double) -> Double { (seconds * 1e4).rounded() / 10 }
        stages = SessionStats.Stages(
            queue: milliseconds(max(0, chunk.latency - busy)),
            encode: milliseconds(seconds.encode),
            denoise: milliseconds(seconds.denoise),
            vaeDecode: milliseconds(seconds.decode),
            compress: milliseconds(compress)
        )
    }

    /// The statistics; rates are over the time since the last call.
    mutating func report(
        received: Int,
        dropped: Int,
        outboxDropped: Int,
        sessions: Int
    ) -> SessionStats {
        let now = ContinuousClock.now
        let seconds = max((now - last.time) / .seconds(1), 1e-3)
        var stats = SessionStats(latencyMs: .init(latencies))
        stats.fpsIn = (10 * Double(received - last.framesIn) / seconds).rounded() / 10
        stats.fpsOut = (10 * Double(framesOut - last.framesOut) / seconds).rounded() / 10
        (stats.framesIn, stats.framesOut) = (received, framesOut)
        stats.dropped = .init(inbox: dropped, outbox: outboxDropped, damaged: damaged)
        stats.deadlinesMissed = missed
        stats.stagesMs = stages
        stats.chunk = chunks
        stats.sessions = sessions
        last = (now, received, framesOut)
        return stats
    }
}
