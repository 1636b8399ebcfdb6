/// What only a live stream measures.
public struct LiveSummary: Sendable, Codable, Equatable {
    /// Percentiles of the time from the capture of a frame until it was shown or sent, in milliseconds.
    public var latency: StreamSummary.Latency?
    /// The frames that were not shown.
    public var drops = FrameDrops()
    /// The frames shown or sent.
    public var framesShown = 0

    private enum CodingKeys: String, CodingKey {
        case latency = "latency_ms", drops, framesShown = "frames_shown"
    }
}

/// The progress of a live stream.
public struct LiveProgress: Sendable {
    /// The stage, and the frames read and produced.
    public var stream: StreamProgress
    /// The frames per second that arrive and that are shown, recently.
    public var fpsIn = 0.0, fpsOut = 0.0
    /// Recent percentiles of the time from the capture of a frame until it is shown, in milliseconds; `nil` before
    /// the first one.
    public var latency: (p50: Double, p95: Double)?
    /// The frames that were not shown, so far.
    public var drops = FrameDrops()
    /// Whether the stream is paused.
    public var isPaused = false
}
