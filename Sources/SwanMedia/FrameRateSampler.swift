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

    init(rate: Rational) {
        self.rate = rate
    }

    /// The next frame at the constant rate; `source` gives the input's frames, then `nil`.
    mutating func next(
        _ source: () throws(MediaError) -> TimedFrame?
    ) throws(MediaError) -> VideoFrame? {
        if !started {
            started = true
            current = try source()
            upcoming = current == nil ? nil : try source()
        }
        guard var shown = current else { return nil }
        let time = Double(index) / rate.value
        while let later = upcoming,
            abs(later.frame.seconds - time) <= abs(shown.frame.seconds - time)
        {
            shown = later
            upcoming = try source()
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
}
