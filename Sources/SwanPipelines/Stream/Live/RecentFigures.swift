import Foundation
import SwanSystem
import Synchronization

/// Frames per second over the last two seconds.
struct RateMeter {
    private var times: [ContinuousClock.Instant] = []

    /// How far back frames count.
    private static let window = Duration.seconds(2)

    /// Counts a frame.
    mutating func add(_ time: ContinuousClock.Instant) {
        times.append(time)
        if times.count > 512 { prune(time) }
    }

    /// The frames per second until `now`.
    mutating func rate(_ now: ContinuousClock.Instant) -> Double {
        prune(now)
        guard let first = times.first, times.count > 1 else { return 0 }
        let seconds = max((now - first).seconds, 1e-3)
        return Double(times.count) / max(seconds, 0.25)
    }

    private mutating func prune(_ now: ContinuousClock.Instant) {
        let start = now - Self.window
        times.removeFirst(times.prefix { $0 < start }.count)
        if times.count > 1_024 { times.removeFirst(times.count - 1_024) }
    }
}

/// Latencies: all of a stream's in a histogram, and the last hundred for the display.
struct LatencyMeter {
    private(set) var all = LatencyHistogram()
    private var recent: [Double] = []

    mutating func add(_ seconds: Double) {
        all.add(seconds)
        recent.append(seconds)
        if recent.count > 100 { recent.removeFirst(recent.count - 100) }
    }

    /// The median and the 95th percentile of the last hundred frames, in seconds.
    var percentiles: (p50: Double, p95: Double)? {
        guard !recent.isEmpty else { return nil }
        let sorted = recent.sorted()
        func at(_ share: Double) -> Double {
            sorted[min(sorted.count - 1, Int(share * Double(sorted.count)))]
        }
        return (at(0.5), at(0.95))
    }
}

/// What a live stream measures, written by its threads.
final class LiveFigures: Sendable {
    private struct State {
        var shown = 0
        var firstShown: ContinuousClock.Instant?
        var rate = RateMeter()
        var latency = LatencyMeter()
    }

    private let state = Mutex(State())

    /// Counts a frame that a person or a receiver gets now.
    func noteShown(capturedAt capture: ContinuousClock.Instant, _ now: ContinuousClock.Instant) {
        state.withLock { state in
            state.shown += 1
            if state.firstShown == nil { state.firstShown = now }
            state.rate.add(now)
            state.latency.add((now - capture).seconds)
        }
    }

    /// The number of frames shown.
    var shown: Int { state.withLock { $0.shown } }
    /// When the first frame was shown.
    var firstShown: ContinuousClock.Instant? { state.withLock { $0.firstShown } }
    /// The frames shown per second, recently.
    var fps: Double { state.withLock { $0.rate.rate(.now) } }
    /// Recent latencies, from the capture of a frame until it is shown.
    var recentLatency: (p50: Double, p95: Double)? { state.withLock { $0.latency.percentiles } }
    /// The latencies of all frames.
    var latencies: LatencyHistogram { state.withLock { $0.latency.all } }
}
