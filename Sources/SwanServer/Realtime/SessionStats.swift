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
            p50 = histogram.milliseconds(0.5)
            p95 = histogram.milliseconds(0.95)
            p99 = histogram.milliseconds(0.99)
        }
    }

    /// The time of the last chunk in each stage, in milliseconds.
    struct Stages: Encodable, Sendable {
        var queue = 0.0, encode = 0.0, denoise = 0.0, vaeDecode = 0.0, compress = 0.0

        init() {}

        init(_ chunk: RestyledChunk, compress: Double) {
            let seconds = chunk.seconds
            let busy = seconds.encode + seconds.denoise + seconds.decode
            queue = rounded(max(0, chunk.latency - busy) * 1_000, 10)
            encode = rounded(seconds.encode * 1_000, 10)
            denoise = rounded(seconds.denoise * 1_000, 10)
            vaeDecode = rounded(seconds.decode * 1_000, 10)
            self.compress = rounded(compress * 1_000, 10)
        }
    }

    let type = "stats"
    var fpsIn = 0.0
    var fpsOut = 0.0
    var framesIn = 0
    var framesOut = 0
    var dropped = Dropped()
    /// From a frame's arrival until its restyled frame is ready to be sent.
    var latencyMs: Percentiles
    /// From a chunk to the next one.
    var chunkIntervalMs: Percentiles
    /// From the first frame until the first chunk was done.
    var timeToFirstChunkMs: Double?
    /// Of the chunks so far, those that were done after their deadline, and the share of the others.
    var deadlinesMissed = 0
    var deadlineAttainment = 1.0
    /// How often a viewer who shows frames at the session's rate, a chunk's time after they came, had none.
    var underruns = 0
    /// The seconds of video that came out, over the seconds in which they did: 1 if the session keeps its rate.
    var realTimeFactor: Double?
    /// How the steps of the last chunk ran.
    var mode = StepMode.steps
    var stagesMs = Stages()
    var chunk = 0
    var sessions = 0
}
