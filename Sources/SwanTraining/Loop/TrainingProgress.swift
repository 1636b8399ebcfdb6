/// Where training stands, for a display.
public struct TrainingProgress: Sendable {
    /// The part of the recipe that is being trained.
    public let stage: String
    /// Steps done of this stage, and all there will be.
    public let step, steps: Int
    /// Losses by name, averaged since the last report.
    public let losses: [String: Double]
    /// The norm of all gradients of the last step, before it was cut.
    public let gradientNorm: Double
    /// The learning rate of the last step.
    public let learningRate: Double
    /// Seconds a step takes at present.
    public let secondsPerStep: Double

    /// Seconds until this stage is done, at the present speed.
    public var remainingSeconds: Double { Double(steps - step) * secondsPerStep }
}
