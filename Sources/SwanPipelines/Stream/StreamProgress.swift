/// How far a job is.
public struct StreamProgress: Sendable, Equatable {
    /// What a job does, one after the other.
    public enum Stage: String, Sendable {
        case loading, streaming, finishing
    }

    /// What it does now.
    public var stage: Stage
    /// Frames taken, and frames given.
    public var framesIn = 0, framesOut = 0
    /// The frames there will be; nil where nobody knows.
    public var total: Int?
    /// Since the first frame.
    public var seconds = 0.0

    /// Progress at the beginning of a stage.
    public init(stage: Stage, total: Int?) {
        self.stage = stage
        self.total = total
    }

    /// Frames given a second.
    public var fps: Double { seconds > 0 ? Double(framesOut) / seconds : 0 }

    /// Seconds that the rest takes at this speed; nil where nobody knows.
    public var remainingSeconds: Double? {
        guard let total, fps > 0 else { return nil }
        return Double(max(0, total - framesOut)) / fps
    }
}
