/// Where training stands, for a display.
public struct TrainingProgress: Sendable {
    /// The part of the recipe that is being trained.
    public let stage: String
    /// Steps done of this stage, and all there will be.
    public let step, steps: Int
    /// Losses by name, averaged since the last report.
    public let losses: [String: Double]
    /// The norm of all gradients of the last update, before it was cut; of the method's first network.
    public let gradientNorm: Double
    /// The learning rate of that update.
    public let learningRate: Double
    /// Seconds a step takes at present.
    public let secondsPerStep: Double

    /// Seconds until this stage is done, at the present speed.
    public var remainingSeconds: Double { Double(steps - step) * secondsPerStep }
}

/// The numbers of one step.
struct StepNumbers {
    /// The losses of all its updates by name, each the mean over micro-batches.
    var losses: [String: Double] = [:]
    /// Its updates by role.
    var updates: [String: Update] = [:]

    /// The numbers of one update.
    struct Update {
        /// The norm of all gradients, before it was cut.
        let gradientNorm: Double
        let learningRate: Double
    }
}

/// Averages since the last report.
struct ProgressReport {
    let stage: String
    let steps: Int
    private var losses = RunningMeans()
    private var norm = 0.0
    private var rate = 0.0
    private var count = 0
    private var since = ContinuousClock.now

    init(stage: String, steps: Int) {
        self.stage = stage
        self.steps = steps
    }

    /// Takes note of a step; `main` is its update of the first trained role, if there was one.
    mutating func add(_ step: StepNumbers, main: StepNumbers.Update?) {
        losses.add(step.losses)
        if let main { (norm, rate) = (main.gradientNorm, main.learningRate) }
        count += 1
    }

    /// Reports at most every other second, and the last step.
    mutating func show(_ step: Int, isLast: Bool, _ onProgress: (TrainingProgress) -> Void) {
        let seconds = (.now - since) / .seconds(1)
        guard seconds > 2 || isLast, count > 0 else { return }
        onProgress(
            TrainingProgress(
                stage: stage,
                step: step,
                steps: steps,
                losses: losses.take(),
                gradientNorm: norm,
                learningRate: rate,
                secondsPerStep: seconds / Double(count)
            )
        )
        count = 0
        since = .now
    }
}
