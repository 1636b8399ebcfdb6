import SwanSystem

/// Leaves out frames of a live source at even intervals.
///
/// A stream that is slower than its source could take the newest frames of a full inbox, but then it would show four
/// frames in a row, and a gap. With frames left out evenly, motion stays even, and the inbox nearly empty.
struct FrameThinner {
    /// The frames left out because the stream is slower than its source.
    private(set) var thinnedFrames = 0

    private let sourceRate: Double
    /// The most frames per second that a person wants.
    private let limit: Double?
    /// The frames per second that the stream keeps up with; `nil` for all.
    private(set) var target: Double?
    /// When the next frame is taken.
    private var due: ContinuousClock.Instant?
    private var window: (start: ContinuousClock.Instant, passed: Int, dropped: Int)?
    private var lastNote: ContinuousClock.Instant?
    /// Whether the target has been found: it then grows in small steps only.
    private var isSettled = false

    init(sourceRate: Double, limit: Double?) {
        self.sourceRate = sourceRate
        self.limit = limit.map { $0 < sourceRate * 0.99 ? $0 : .infinity }
    }

    /// Whether a frame that arrives now is taken.
    mutating func takes(_ now: ContinuousClock.Instant) -> Bool {
        let rate = min(limit ?? .infinity, target ?? .infinity)
        guard rate < .infinity else { return true }
        let interval = 1 / rate
        guard let due else {
            self.due = now + .seconds(interval)
            return true
        }
        // A frame that arrives a little early is the one that was meant.
        guard (due - now).seconds < min(interval / 2, 0.5 / sourceRate) else {
            if rate < limit ?? .infinity { thinnedFrames += 1 }
            return false
        }
        self.due = max(due + .seconds(interval), now)
        return true
    }

    /// Follows what the stream keeps up with.
    ///
    /// - Parameters:
    ///   - passed: The frames that the stream has taken so far.
    ///   - dropped: The frames that a full inbox has dropped so far.
    mutating func note(passed: Int, dropped: Int, _ now: ContinuousClock.Instant) {
        // A pause or a stall says nothing about the stream.
        let isContinuous = lastNote.map { (now - $0).seconds < 1 } ?? false
        lastNote = now
        guard let window, isContinuous else {
            self.window = (now, passed, dropped)
            return
        }
        let seconds = (now - window.start).seconds
        guard seconds >= 2 else { return }
        self.window = (now, passed, dropped)
        if dropped > window.dropped {
            isSettled = target != nil
            target = max(1, Double(passed - window.passed) / seconds * 0.98)
        } else if let old = target {
            // The first chunks of a stream are slow, so the first target is too low.
            let next = old * (isSettled ? 1.05 : 1.25)
            target = next < sourceRate ? next : nil
        }
    }
}
