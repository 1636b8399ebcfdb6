/// The progress of training, for display.
package struct TrainingProgress: Sendable {
    /// The stage of the recipe that is running.
    package let stage: String
    /// The number of steps done in this stage, and its total number of steps.
    package let step, steps: Int
    /// Losses by name, averaged since the last report.
    package let losses: [String: Double]
    /// The norm of all gradients of the last update before clipping, for the method's first trained
    /// network.
    package let gradientNorm: Double
    /// The learning rate of that update.
    package let learningRate: Double
    /// The current duration of a step in seconds.
    package let secondsPerStep: Double
    /// What the user should know now; nil for nothing. A run warns once of each kind of thing.
    package let warning: String?

    /// Creates a report of work that is not the update of a network.
    package init(
        stage: String,
        step: Int,
        of steps: Int,
        losses: [String: Double] = [:],
        secondsPerStep: Double
    ) {
        self.init(
            stage: stage,
            step: step,
            steps: steps,
            losses: losses,
            gradientNorm: 0,
            learningRate: 0,
            secondsPerStep: secondsPerStep
        )
    }

    init(
        stage: String,
        step: Int,
        steps: Int,
        losses: [String: Double],
        gradientNorm: Double,
        learningRate: Double,
        secondsPerStep: Double,
        warning: String? = nil
    ) {
        (self.stage, self.step, self.steps) = (stage, step, steps)
        self.losses = losses
        (self.gradientNorm, self.learningRate) = (gradientNorm, learningRate)
        self.secondsPerStep = secondsPerStep
        self.warning = warning
    }

    /// The estimated seconds until this stage is done, at the current speed.
    package var remainingSeconds: Double { Double(steps - step) * secondsPerStep }
}

/// The losses and updates of one step.
struct StepNumbers {
    /// The losses of all updates by name, for each micro-batch of this process.
    private(set) var parts: [Int: [String: Double]]
    /// The losses of all updates by name, each averaged over micro-batches.
    var losses: [String: Double] { Self.means(parts) }
    /// The updates by role.
    var updates: [String: Update] = [:]

    /// The values of one update.
    struct Update {
        /// The norm of all gradients before clipping; if it is not finite, the update was skipped.
        let gradientNorm: Double
        let learningRate: Double
        /// The number of updates of this role that the run has skipped.
        var skipped = 0
    }

    /// Creates the numbers of a step before its updates.
    ///
    /// - Parameter parts: The micro-batches of this process.
    init(parts: [Int]) {
        self.parts = Dictionary(uniqueKeysWithValues: parts.map { ($0, [:]) })
    }

    /// Adds an update's losses of the micro-batches in order.
    mutating func add(_ losses: [[String: Double]]) {
        for (part, values) in zip(parts.keys.sorted(), losses) {
            parts[part]?.merge(values) { _, last in last }
        }
    }

    /// Adds the losses of other processes.
    mutating func add(_ others: [Int: [String: Double]]) {
        parts.merge(others) { own, _ in own }
    }

    /// The means over the micro-batches that have a value.
    private static func means(_ parts: [Int: [String: Double]]) -> [String: Double] {
        var means = RunningMeans()
        for part in parts.sorted(by: { $0.key < $1.key }) { means.add(part.value) }
        return means.take()
    }
}

/// Accumulates averages since the last report.
struct ProgressReport {
    let stage: String
    let steps: Int
    private var losses = RunningMeans()
    private var norm = 0.0
    private var rate = 0.0
    private var count = 0
    private var since = ContinuousClock.now
    private var warning: String?
    private var hasWarned = false

    init(stage: String, steps: Int) {
        self.stage = stage
        self.steps = steps
    }

    /// Adds a step. `main` is its update of the first trained role, if any.
    mutating func add(_ step: StepNumbers, main: StepNumbers.Update?) {
        losses.add(step.losses)
        if let main, main.gradientNorm.isFinite {
            (norm, rate) = (main.gradientNorm, main.learningRate)
        }
        count += 1
    }

    /// Adds a warning to the next report, unless one was given before.
    mutating func warn(of text: String?) {
        guard let text, !hasWarned else { return }
        warning = text
        hasWarned = true
    }

    /// Reports at most every two seconds, and always on the last step and with a warning.
    mutating func show(_ step: Int, isLast: Bool, _ onProgress: (TrainingProgress) -> Void) {
        let seconds = (.now - since) / .seconds(1)
        guard seconds > 2 || isLast || warning != nil, count > 0 else { return }
        onProgress(
            TrainingProgress(
                stage: stage,
                step: step,
                steps: steps,
                losses: losses.take(),
                gradientNorm: norm,
                learningRate: rate,
                secondsPerStep: seconds / Double(count),
                warning: warning
            )
        )
        warning = nil
        count = 0
        since = .now
    }
}
