import SwanSystem

/// When the frames of a chunk are shown: they come four at a time and leave at even intervals.
struct FramePacer {
    /// Where the intervals come from.
    enum Rhythm {
        /// The rate at which chunks arrive, because a live input has the rate that the model keeps up with.
        case asTheyCome
        /// The frame rate of a file.
        case constant
    }

    private let rhythm: Rhythm
    private let nominal: Double
    /// The seconds between frames.
    private var interval: Double
    private var lastArrival: ContinuousClock.Instant?
    /// When the last frame is due.
    private var lastDue: ContinuousClock.Instant?

    /// Limits of the interval in seconds, for chunks that come in a burst or after a pause.
    private static let limits = 1.0 / 240...1.0

    /// - Parameter rate: The frames per second until a rate was measured.
    init(_ rhythm: Rhythm, rate: Double) {
        self.rhythm = rhythm
        nominal = min(max(1 / rate, Self.limits.lowerBound), Self.limits.upperBound)
        interval = nominal
    }

    /// The times at which the frames of a chunk are due, which arrives now.
    mutating func due(
        _ count: Int,
        _ now: ContinuousClock.Instant
    ) -> [ContinuousClock.Instant] {
        guard count > 0 else { return [] }
        if rhythm == .asTheyCome { follow(count, now) }
        var first = now
        if let lastDue {
            let backlog = (lastDue - now).seconds
            // A chunk that comes early waits for the last one to be shown, which is how jitter evens out.
            // A backlog of a whole chunk is latency without use, so it is worked off.
            let step =
                rhythm == .asTheyCome && backlog > Double(count) * interval / 2
                ? interval * 0.8 : interval
            first = max(now, lastDue + .seconds(step))
            let times = (0..<count).map { first + .seconds(step * Double($0)) }
            self.lastDue = times.last
            return times
        }
        let times = (0..<count).map { first + .seconds(interval * Double($0)) }
        lastDue = times.last
        return times
    }

    /// Measures the time between chunks.
    private mutating func follow(_ count: Int, _ now: ContinuousClock.Instant) {
        defer { lastArrival = now }
        guard let lastArrival else { return }
        let measured = (now - lastArrival).seconds / Double(count)
        // A pause says nothing about the rate.
        guard measured < Self.limits.upperBound else { return }
        let bounded = max(measured, Self.limits.lowerBound)
        interval += (bounded - interval) / 4
    }
}
