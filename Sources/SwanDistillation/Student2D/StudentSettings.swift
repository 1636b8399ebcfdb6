package import SwanModels
import SwanTraining
package import Torch

/// The settings of a distillation of a video model into a student for pictures.
///
/// Source: WanDistiller (github.com/kat3ri/WanDistiller), whose options are the keys.
package struct StudentSettings: Sendable, Equatable {
    /// Where the teacher is, and how ranks share it.
    package enum Strategy: String, Sendable, CaseIterable {
        /// Divided among all ranks if there are at least two GPUs, else on the CPU.
        case auto
        /// Divided among all ranks.
        case balanced
        /// On the first rank alone, which computes for all.
        case gpu0
        /// On the CPU, whole for each rank.
        case cpu
    }

    /// How a teacher's matrix becomes a smaller one of the student.
    package enum Projection: String, Sendable, CaseIterable {
        /// The first rows and columns.
        case truncate
        /// The same of the best approximation whose rank is that of the student's matrix.
        case svd
        /// Means of neighboring columns.
        case average
        /// None: the student starts from random weights.
        case none
    }

    package var teacherPath = ""
    /// The student's configuration.
    package var student = LiteStudentConfig()
    package var dataPath = ""
    package var batch = 2
    package var steps = 500
    package var epochs = 10
    package var rate = 1e-5
    package var weightDecay = 0.01
    package var accumulation = 1
    package var checkpointsGradients = false
    package var teacherDType = DType.float32
    /// Nil for the device of the training.
    package var strategy: Strategy?
    package var drawsSamples = true
    package var sampleFolder: String?
    /// The prompts of the pictures that are drawn; empty for the first two of the data.
    package var samplePrompts: [String] = []
    /// The epochs from one drawing to the next.
    package var sampleInterval = 1
    package var projection = Projection.truncate
    /// The guidance of the flow that the student learns; nil for the teacher's own.
    package var guidance: Double?
    package var negativePrompt: String?
    /// How the teacher makes the pictures that are noised; nil for its own settings.
    package var teacherSteps: Int?
    package var teacherShift: Double?
    package var samplesPerPrompt = 1
    /// The shift of the timesteps that are trained; 1 for uniform ones.
    package var shift = 1.0
    package var heldOutRows = 0
    package var checkpointSteps = 100
    /// Where encoded prompts and the teacher's pictures are kept; nil for the output folder.
    package var cachePath: String?
    package var seed: UInt64 = 0
    /// Whether what the reference computes is kept where Swan corrects it.
    package var isParity = false

    /// What a reader of the file should know.
    package var notes: [String] = []

    /// Creates settings without a teacher, to be filled.
    package init() {}

    /// The number of steps: those asked for, or the end of the last epoch.
    ///
    /// - Parameters:
    ///   - rows: The rows of the data.
    ///   - ranks: The number of processes.
    func stepCount(rows: Int, ranks: Int) -> Int {
        min(steps, epochs * stepsPerEpoch(rows: rows, ranks: ranks))
    }

    /// The number of steps in which each row is used once.
    func stepsPerEpoch(rows: Int, ranks: Int) -> Int {
        let batches = (rows + batch - 1) / batch
        let together = accumulation * ranks
        return (batches + together - 1) / together
    }

    /// The optimizer: no clipping, no schedule, no average.
    func optimizer(ranks: Int) -> OptimizerOptions {
        OptimizerOptions(
            learningRate: rate,
            warmUpSteps: 0,
            decayFrom: 1,
            finalRate: 1,
            betas: [0.9, 0.999],
            weightDecay: weightDecay,
            maximumGradientNorm: .infinity,
            averageDecay: 0,
            microBatches: accumulation * ranks
        )
    }
}
