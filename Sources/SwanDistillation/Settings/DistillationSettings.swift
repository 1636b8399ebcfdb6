package import SwanDistributed
package import SwanSystem
package import SwanTraining

/// The settings of a distillation: the YAML files of CausVid and StreamDiffusionV2, with a few more
/// keys.
package struct DistillationSettings: Sendable, Equatable {
    /// What is minimized.
    package enum Loss: String, Sendable, CaseIterable {
        /// Regression on the states of a teacher's trajectories.
        case ode
        /// Distribution matching.
        case dmd
        /// Distribution matching of videos that a causal generator makes block by block.
        case selfForcing = "self_forcing"
        /// Score identity distillation, of the same videos.
        case sid
    }

    /// A kind of network.
    package enum Network: String, Sendable, CaseIterable {
        case wan, causalWan = "causal_wan", sdxl
    }

    package var loss = Loss.dmd
    package var generator = Network.wan
    package var real = Network.wan
    package var fake = Network.wan
    /// The Wan checkpoint: `T2V-1.3B` or `T2V-14B`; nil for the default, whose sizes its weights
    /// say.
    package var modelType: String?
    /// The model's folder, if it is not `wan_models/Wan2.1-<model_type>`, and the teacher's, if
    /// that is another one.
    package var modelPath, realModelPath: String?
    /// A checkpoint that the generator starts from; nil for the model's weights.
    package var generatorCheckpoint: String?
    /// The dictionary of weights in that checkpoint, such as `generator_ema`; nil for `generator`,
    /// or else what there is.
    package var generatorCheckpointKey: String?

    package var steps: [Int] = []
    package var warpsSteps = false
    package var shift: Double?
    package var realGuidance = 0.0
    package var fakeGuidance = 0.0
    package var task = TaskType.bidirectionalVideo
    package var generatorTask, realTask, fakeTask: TaskType?
    package var denoisingLoss = DenoisingLoss.flow
    package var isSimulated = true
    package var shape: [Int]?
    /// The most latent frames of a video that the generator makes; nil for those of `shape`.
    package var trainingFrames: Int?
    /// Whether the generator and the critic learn from batches of their own; nil for as the
    /// references do.
    package var separatesBatches: Bool?
    package var framesPerBlock = 1
    package var cacheFrames, sinkFrames: Int?
    package var sinkThreshold: Double?
    /// The latent frames after which the student's streams from noise begin anew; nil for never.
    package var shotFrames: Int?
    /// Whether the generator sees only what a stream's cache holds.
    package var trainsWindow = false

    package var generatorOptimizer = OptimizerKeys()
    package var criticOptimizer = OptimizerKeys()
    package var weightDecay = 0.01
    package var batch = 1
    package var accumulation = 1
    package var ratio = 5
    package var usesBFloat16 = false
    package var checkpointsGradients = false
    package var sharding = Sharding.none
    /// The decay of the moving average of the generator's weights, and the step from which it is
    /// kept; nil for none.
    package var averageDecay: Double?
    package var averageStart = 0

    package var dataPath = ""
    package var maximumRows = 100_000_000
    /// The last rows, which are not trained on, but measured.
    package var heldOutRows = 0
    package var negativePrompt = ""
    /// The folder that keeps the embeddings of prompts; nil for none.
    package var textCache: String?
    package var logSteps = 200
    package var seed: UInt64 = 0
    package var maximumSteps: Int?
    package var name: String?
    /// Whether what the references compute is kept where Swan corrects it.
    package var isParity = false

    package var rollout = RolloutKeys()

    /// What a reader of the file should know: keys without effect, values that were replaced.
    package var notes: [String] = []

    /// The optimizer of a network.
    package struct OptimizerKeys: Sendable, Equatable {
        package var rate = 2e-6
        package var betas = [0.9, 0.999]
        package var maximumNorm = 10.0
    }

    /// How Self-Forcing makes a video.
    package struct RolloutKeys: Sendable, Equatable {
        package var sharesStep = false
        package var lastStepOnly = false
        package var contextNoise = 0
        package var limitsScores = false
        package var limitsScoresAbove = false
        package var alpha = 1.0

        /// The weight of score identity distillation; nil for other losses.
        func alpha(for loss: Loss) -> Double? { loss == .sid ? alpha : nil }
    }

    /// Creates settings without steps or data, to be filled.
    package init() {}

    /// The shift of the table of noise levels: 8 where a file is silent, as in the references.
    package var tableShift: Double { isParity ? 8 : shift ?? 8 }

    /// The shift of the scores' timesteps, which the references do not shift where a file is
    /// silent.
    package var scoreShift: Double { shift ?? (isParity ? 1 : 8) }

    /// The schedule of these settings.
    package func schedule() throws(SwanError) -> DistillationSchedule {
        try DistillationSchedule(
            list: steps,
            warped: warpsSteps,
            shift: tableShift,
            scoreShift: scoreShift
        )
    }

    /// How the generator makes videos; nil if it does not.
    package var rolloutOptions: RolloutOptions? {
        guard loss == .selfForcing || loss == .sid else { return nil }
        var options = RolloutOptions()
        options.sharesStep = rollout.sharesStep
        options.lastStepOnly = rollout.lastStepOnly
        options.contextNoise = Double(rollout.contextNoise)
        options.limitsScores = rollout.limitsScores
        options.limitsScoresAbove = rollout.limitsScoresAbove
        options.mostFrames = trainingFrames
        options.isParity = isParity
        return options
    }

    /// Whether the generator and the critic learn from batches of their own, as in Self-Forcing.
    package var hasSeparateBatches: Bool {
        separatesBatches ?? (loss == .selfForcing || loss == .sid)
    }

    /// What the generator sees in training; nil for all frames.
    package var causalView: NetworkForm.CausalView? {
        guard generator == .causalWan else { return nil }
        var view = NetworkForm.CausalView(framesPerBlock: framesPerBlock)
        guard trainsWindow, let cacheFrames else { return view }
        view.window = cacheFrames / framesPerBlock * framesPerBlock
        // A stream of batches never overwrites its first chunk, nor a part of another.
        let least = streamContextNoise == nil ? 1 : 0
        view.sinks = max(least, (sinkFrames ?? 0) / framesPerBlock) * framesPerBlock
        return view
    }

    /// The timestep at which the student's streams run finished chunks once more; nil if they do
    /// not.
    ///
    /// Students whose past was clean in training do. Those that begin with footage stream in
    /// batches, as published.
    package var streamContextNoise: Int? {
        if rolloutOptions != nil { return rollout.contextNoise }
        let isFromNoise = steps.first == DistillationSchedule.trainingTimesteps
        return isFromNoise && steps.last == 0 ? 0 : nil
    }

    /// The options of the generator's optimizer, which keeps the average that is saved.
    package func generatorOptions(microBatches: Int) -> OptimizerOptions {
        var options = options(generatorOptimizer, microBatches)
        guard let averageDecay else { return options }
        options.averageDecay = averageDecay
        // The generator is updated in every `ratio`-th step, beginning with the first.
        options.averageAfter = (averageStart + generatorInterval - 1) / generatorInterval
        return options
    }

    /// The options of the critic's optimizer.
    package func criticOptions(microBatches: Int) -> OptimizerOptions {
        options(criticOptimizer, microBatches)
    }

    /// The steps from one update of the generator to the next.
    private var generatorInterval: Int { loss == .ode ? 1 : ratio }

    private func options(_ keys: OptimizerKeys, _ microBatches: Int) -> OptimizerOptions {
        OptimizerOptions(
            learningRate: keys.rate,
            warmUpSteps: 0,
            decayFrom: 1,
            finalRate: 1,
            betas: keys.betas,
            weightDecay: weightDecay,
            maximumGradientNorm: keys.maximumNorm,
            averageDecay: 0,
            microBatches: microBatches
        )
    }
}
