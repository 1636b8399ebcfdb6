package import SwanTraining

/// What distribution matching needs to know besides its networks.
package struct MatchingOptions: Sendable {
    package var schedule: DistillationSchedule
    /// How the steps of the generator's frames are drawn, and the scores' timesteps for its loss
    /// and for the critic's.
    package var generatorTask, realTask, fakeTask: TaskType
    package var framesPerBlock = 1
    /// The guidance of the real score; see `guided`.
    package var realGuidance = 0.0
    /// The guidance of the fake score in the generator's loss.
    package var fakeGuidance = 0.0
    package var denoisingLoss = DenoisingLoss.flow
    /// Whether the generator's inputs are its own results instead of noisy data.
    package var isSimulated = false
    /// How a causal generator makes whole videos block by block, which are then its predictions;
    /// nil if it does not.
    package var rollout: RolloutOptions?
    /// The number of critic updates for each update of the generator.
    package var ratio = 5
    /// Whether the generator and the critic learn from batches of their own.
    package var separatesBatches = false
    /// The shape of the latents that are made from noise, and that scores see.
    package var shape: LatentShape
    package var precision = Precision.float32
    /// Whether trained weights may be kept in parts by several ranks.
    package var sharesWeights = false
    /// The loss of the generator.
    package var generatorLoss = GeneratorLoss.matching

    /// A loss of the generator.
    package enum GeneratorLoss: Sendable, Equatable {
        /// The gradient of distribution matching.
        case matching
        /// Score identity distillation with its weight alpha: see `ScoreIdentity`.
        case scoreIdentity(alpha: Double)
    }

    /// Creates options for a task, which scores share.
    package init(_ schedule: DistillationSchedule, task: TaskType, shape: LatentShape) {
        self.schedule = schedule
        generatorTask = task
        realTask = task
        fakeTask = task
        self.shape = shape
    }
}
