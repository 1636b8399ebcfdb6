import Foundation
import Metrics
import SwanPipelines

/// The part of the server's metrics that one session records.
final class SessionMetrics: @unchecked Sendable {
    private let server: ServerMetrics

    // Everything below is protected by `lock`.
    private let lock = NSLock()
    /// Changes that have not shaped a chunk yet.
    private var changes: [(event: UInt32, time: ContinuousClock.Instant)] = []
    private var dropped = SessionStats.Dropped()

    init(_ server: ServerMetrics) { self.server = server }

    /// Counts the session's start.
    func begun() { server.count("swan_sessions_started_total", 1) }

    /// Counts a frame of the client.
    func received() { frames(1, "in", "received") }

    /// Remembers when a change was requested.
    func changed(_ event: UInt32) {
        lock.withLock {
            // A client that never shapes a chunk must not fill the memory.
            if changes.count >= 64 { changes.removeFirst() }
            changes.append((event, .now))
        }
    }

    /// Notes that a pause ended, which changes during it had to wait for.
    func resumed() {
        lock.withLock { for index in changes.indices { changes[index].time = .now } }
    }

    /// Records a chunk.
    ///
    /// - Parameter compress: The seconds that compressing its frames took.
    func add(_ chunk: RestyledChunk, _ measures: ChunkMeasures, compress: Double) {
        let now = ContinuousClock.now
        server.count("swan_chunks_total", 1)
        frames(chunk.frames.count, "out", "restyled")
        for latency in measures.latencies { server.seconds("swan_e2e_latency_seconds", latency) }
        addStages(chunk, compress: compress)
        if chunk.isLate { server.count("swan_deadline_missed_total", 1) }
        if measures.isUnderrun { server.count("swan_underruns_total", 1) }
        let effects = lock.withLock {
            // Of changes that were merged, the newest gives its number to the chunk.
            let newest = changes.lastIndex { $0.event == chunk.event }
            let past = changes.prefix(newest.map { $0 + 1 } ?? 0)
            changes.removeFirst(past.count)
            return past.map { (now - $0.time) / .seconds(1) }
        }
        for effect in effects { server.seconds("swan_prompt_to_effect_seconds", effect) }
        let optional = [
            ("swan_chunk_interval_seconds", measures.interval),
            ("swan_real_time_factor", measures.realTimeFactor),
            ("swan_time_to_first_chunk_seconds", measures.untilFirstChunk),
        ]
        for case (let name, let value?) in optional { server.seconds(name, value) }
    }

    private func addStages(_ chunk: RestyledChunk, compress: Double) {
        let seconds = chunk.seconds
        let busy = seconds.encode + seconds.denoise + seconds.decode
        let stages = [
            ("queue", max(0, chunk.latency - busy)), ("encode", seconds.encode),
            ("denoise", seconds.denoise), ("decode", seconds.decode), ("compress", compress),
        ]
        for (stage, time) in stages {
            server.seconds("swan_stage_duration_seconds", time, ("stage", stage))
        }
    }

    /// Counts what was dropped since the last call.
    ///
    /// - Parameter total: What the session has dropped so far.
    func dropped(_ total: SessionStats.Dropped) {
        let new = lock.withLock {
            defer { dropped = total }
            return [
                ("inbox", total.inbox - dropped.inbox), ("outbox", total.outbox - dropped.outbox),
                ("damaged", total.damaged - dropped.damaged),
            ]
        }
        for (reason, number) in new where number > 0 {
            server.count("swan_frames_dropped_total", number, reason: reason)
        }
    }

    /// Counts the session's end.
    func ended(_ result: String) {
        let labels = [("result", result)]
        Counter(label: "swan_sessions_ended_total", dimensions: labels, factory: server.factory)
            .increment()
    }

    private func frames(_ number: Int, _ direction: String, _ result: String) {
        let labels = [("dir", direction), ("result", result)]
        Counter(label: "swan_frames_total", dimensions: labels, factory: server.factory)
            .increment(by: number)
    }
}
