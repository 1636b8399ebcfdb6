/// When a session's frames are sent, and what happens if there are too many.
enum Presentation: String, CaseIterable, Sendable {
    /// At once; newer frames replace older ones. For live video.
    case newest
    /// At once, and all of them: a client that is over its credit waits. For files.
    case lossless
    /// At even intervals, at the session's rate; newer frames replace older ones.
    case paced
}

/// Spaces the frames of chunks evenly.
///
/// If more than two chunks wait, it goes a little faster, so that a delay does not stay for ever.
struct FramePacer {
    private let interval: Duration
    private let framesPerChunk: Int
    /// The earliest time for the next frame.
    private var due: ContinuousClock.Instant?

    init(framesPerSecond: Double, framesPerChunk: Int) {
        interval = .seconds(1 / framesPerSecond)
        self.framesPerChunk = framesPerChunk
    }

    /// Returns when to send the next frame, while `waiting` others wait behind it.
    mutating func next(
        now: ContinuousClock.Instant,
        waiting: Int
    ) -> ContinuousClock.Instant {
        let time = max(due ?? now, now)
        due = time + (waiting > 2 * framesPerChunk ? interval * 0.8 : interval)
        return time
    }
}
