import SwanSystem

/// A frame and its duration in seconds.
struct TimedFrame {
    let frame: VideoFrame
    let duration: Double
}

/// Resamples frames to a constant rate: each output frame is the input frame nearest in time.
struct FrameRateSampler {
    private let rate: Rational
    private var current: TimedFrame?
    private var upcoming: TimedFrame?
    private var started = false
    private var index = 0
    /// The offset added to the input's timestamps.
    private var shift = 0.0
    private var last: (seconds: Double, duration: Double)?

    /// The maximum duration of a frame in seconds, so that a file's timestamps cannot cause endless
    /// output.
    private static let maxDuration = 600.0

    init(rate: Rational) {
        self.rate = rate
    }

    /// The next frame at the constant rate; `source` returns the input's frames, then `nil`.
    mutating func next(
        _ source: () throws(SwanError) -> TimedFrame?
    ) throws(SwanError) -> VideoFrame? {
        if !started {
            started = true
            current = try takeNext(source)
            upcoming = current == nil ? nil : try takeNext(source)
        }
        guard var shown = current else { return nil }
        let time = Double(index) / rate.value
        while let later = upcoming,
            abs(later.frame.seconds - time) <= abs(shown.frame.seconds - time)
        {
            shown = later
            upcoming = try takeNext(source)
        }
        current = shown
        if upcoming == nil {
            let end = shown.frame.seconds + shown.duration
            // The last frame fills its own duration; a single one is never lost.
            guard index == 0 || Double(index) < (end * rate.value).rounded() else { return nil }
        }
        index += 1
        return shown.frame.shown(at: time)
    }

    /// The input's next frame, never earlier than the last one. After a large jump in the
    /// timestamps, as in joined recordings, it follows the last one directly.
    private mutating func takeNext(
        _ source: () throws(SwanError) -> TimedFrame?
    ) throws(SwanError) -> TimedFrame? {
        guard let next = try source() else { return nil }
        // Ignore implausible durations.
        let duration =
            (0...Self.maxDuration).contains(next.duration) ? next.duration : 1 / rate.value
        var seconds = next.frame.seconds + shift
        if let last {
            if !(-1...Self.maxDuration).contains(seconds - last.seconds) {
                shift = last.seconds + last.duration - next.frame.seconds
                seconds = last.seconds + last.duration
            }
            seconds = max(seconds, last.seconds)
        }
        last = (seconds, duration)
        return TimedFrame(frame: next.frame.shown(at: seconds), duration: duration)
    }
}
