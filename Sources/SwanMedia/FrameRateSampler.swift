/// A frame and how long it is shown.
struct TimedFrame {
    let frame: VideoFrame
    let duration: Double
}

/// Frames at a constant rate out of frames at any times: each output shows the input nearest to it in time.
struct FrameRateSampler {
    private let rate: Rational
    private var current: TimedFrame?
    private var upcoming: TimedFrame?
    private var started = false
    private var index = 0
    /// What is added to the input's times.
    private var shift = 0.0
    private var last: (seconds: Double, duration: Double)?

    /// A frame is shown for so many seconds at most: times from a file must not make a video without end.
    private static let longest = 600.0

    init(rate: Rational) {
        self.rate = rate
    }

    /// The next frame at the constant rate; `source` gives the input's frames, then `nil`.
    mutating func next(
        _ source: () throws(MediaError) -> TimedFrame?
    ) throws(MediaError) -> VideoFrame? {
        if !started {
            started = true
            current = try take(source)
            upcoming = current == nil ? nil : try take(source)
        }
        guard var shown = current else { return nil }
        let time = Double(index) / rate.value
        while let later = upcoming,
            abs(later.frame.seconds - time) <= abs(shown.frame.seconds - time)
        {
            shown = later
            upcoming = try take(source)
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

    /// The input's next frame, never before the last one: where its times jump far ahead or back, as where
    /// recordings were joined, it follows at once.
    private mutating func take(
        _ source: () throws(MediaError) -> TimedFrame?
    ) throws(MediaError) -> TimedFrame? {
        guard let next = try source() else { return nil }
        // What is longer is no length that a frame can have.
        let duration =
            (0...Self.longest).contains(next.duration) ? next.duration : 1 / rate.value
        var seconds = next.frame.seconds + shift
        if let last {
            if !(-1...Self.longest).contains(seconds - last.seconds) {
                shift = last.seconds + last.duration - next.frame.seconds
                seconds = last.seconds + last.duration
            }
            seconds = max(seconds, last.seconds)
        }
        last = (seconds, duration)
        return TimedFrame(frame: next.frame.shown(at: seconds), duration: duration)
    }
}
