/// The progress of a job.
public struct StreamProgress: Sendable, Equatable {
    /// The stages of a job, in order.
    public enum Stage: String, Sendable {
        case loading, streaming, finishing
    }

    /// The current stage.
    public var stage: Stage
    /// The number of frames read from the input and of frames produced.
    public var framesIn = 0, framesOut = 0
    /// The expected number of frames; `nil` if unknown.
    public var total: Int?
    /// The seconds since the model was loaded.
    public var seconds = 0.0

    /// Creates progress at the start of a stage.
    public init(stage: Stage, total: Int?) {
        self.stage = stage
        self.total = total
    }

    /// The number of frames produced per second.
    public var fps: Double { seconds > 0 ? Double(framesOut) / seconds : 0 }

    /// The estimated seconds remaining at this speed; `nil` if unknown.
    public var remainingSeconds: Double? {
        guard let total, fps > 0 else { return nil }
        return Double(max(0, total - framesOut)) / fps
    }
}
