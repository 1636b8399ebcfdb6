import Foundation
import SwanPipelines

/// The frames of an uploaded video that wait for the session.
struct DemoUpload {
    /// The limits above which no more frames are asked for.
    private static let (maxFrames, maxBytes) = (64, 32 << 20)

    /// Whether the client has sent all frames.
    var isComplete = false
    private var frames: [(frame: SharedFrame, bytes: Int)] = []
    private var bytes = 0

    var count: Int { frames.count }
    var isFull: Bool { frames.count >= Self.maxFrames || bytes >= Self.maxBytes }
    var first: SharedFrame? { frames.first?.frame }

    mutating func add(_ frame: SharedFrame, bytes: Int) {
        frames.append((frame, bytes))
        self.bytes += bytes
    }

    mutating func removeFirst() { bytes -= frames.removeFirst().bytes }
}

/// The latencies of a user's newest frames, from their arrival until they are restyled.
struct DemoLatencies: Sendable {
    private static let capacity = 4_096
    private var seconds: [Double] = []
    private var lastChunk: UInt32?
    /// The number of chunks.
    private(set) var chunks = 0

    mutating func add(_ frame: OutputFrame) {
        seconds.append((ContinuousClock.now - frame.arrival) / .seconds(1))
        if seconds.count > 2 * Self.capacity { seconds.removeFirst(Self.capacity) }
        if lastChunk != frame.header.chunk { chunks += 1 }
        lastChunk = frame.header.chunk
    }

    /// The statistics of the newest `count` frames; nil if there are none.
    func report(last count: Int, framesUnderway: Int) -> Report? {
        let sorted = seconds.suffix(min(max(count, 1), Self.capacity)).sorted()
        guard let least = sorted.first, let most = sorted.last else { return nil }
        let mean = sorted.reduce(0, +) / Double(sorted.count)
        let variance = sorted.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(sorted.count)
        func percentile(_ share: Double) -> Double {
            let place = share * Double(sorted.count - 1)
            let (below, above) = (Int(place), min(Int(place) + 1, sorted.count - 1))
            return sorted[below] + (place - Double(below)) * (sorted[above] - sorted[below])
        }
        return Report(
            meanLatency: mean,
            medianLatency: percentile(0.5),
            p95Latency: percentile(0.95),
            p99Latency: percentile(0.99),
            minLatency: least,
            maxLatency: most,
            stdLatency: variance.squareRoot(),
            sampleCount: sorted.count,
            remainingFrames: framesUnderway,
            batchCount: chunks
        )
    }

    /// Latencies in seconds, as `/api/metrics/{id}` answers.
    struct Report: Encodable, Sendable {
        let meanLatency, medianLatency, p95Latency, p99Latency: Double
        let minLatency, maxLatency, stdLatency: Double
        let sampleCount, remainingFrames, batchCount: Int

        private enum CodingKeys: String, CodingKey {
            case meanLatency = "mean_latency", medianLatency = "median_latency"
            case p95Latency = "p95_latency", p99Latency = "p99_latency"
            case minLatency = "min_latency", maxLatency = "max_latency", stdLatency = "std_latency"
            case sampleCount = "sample_count", remainingFrames = "remaining_frames"
            case batchCount = "batch_count"
        }
    }
}
