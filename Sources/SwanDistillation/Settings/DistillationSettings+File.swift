import SwanCheckpoints
package import SwanSystem
import SwanTraining
import Yams

extension DistillationSettings {
    /// Reads settings from a file.
    ///
    /// - Throws: `invalidRecipe` with the file and the key.
    package init(contentsOf path: String) throws(SwanError) {
        self = try Distillation.File.settings(in: SmallFile.text(path), path)
    }

    /// Parses settings; a missing, unknown or mistyped key is an error that names it.
    package init(yaml text: String) throws(SwanError) {
        let file = try KeyedSettings<SettingKey>(yaml: text)
        self.init()
        notes = file.notes
        // In the order of the cases, because some keys are the defaults of later ones.
        for key in SettingKey.allCases {
            if let value = file.values[key] { try set(key, value) }
        }
        try file.require([.loss, .steps, .task, .dataPath])
        try check()
    }

    private mutating func set(_ key: SettingKey, _ value: SettingValue) throws(SwanError) {
        if try setNetworks(key, value) { return }
        if try setSchedule(key, value) { return }
        if try setOptimizers(key, value) { return }
        try setData(key, value)
    }

    private mutating func setNetworks(
        _ key: SettingKey,
        _ value: SettingValue
    ) throws(SwanError) -> Bool {
        switch key {
        case .modelName:
            let network: Network = try value.choice()
            (generator, real, fake) = (network, network, network)
        case .generatorName: generator = try value.choice()
        case .realName: real = try value.choice()
        case .fakeName: fake = try value.choice()
        case .modelType: modelType = try value.text()
        case .modelPath: modelPath = try value.text()
        case .realModelPath: realModelPath = try value.text()
        case .generatorCheckpoint: generatorCheckpoint = try value.text()
        case .generatorCheckpointKey: generatorCheckpointKey = try value.text()
        case .generatorGrad: try value.requireTrained(true)
        case .realGrad: try value.requireTrained(false)
        case .fakeGrad: try value.requireTrained(true)
        case .framesPerBlock: framesPerBlock = try value.integer(in: 1...1_000)
        case .cacheFrames: cacheFrames = try value.integer(in: 1...100_000)
        case .sinkFrames: sinkFrames = try value.integer(in: 0...100_000)
        case .sinkThreshold: sinkThreshold = try value.number(in: -1...1)
        case .shotFrames: shotFrames = try value.integer(in: 1...100_000)
        case .trainsWindow: trainsWindow = try value.truth()
        case .isREPA:
            guard try !value.truth() else {
                throw value.invalid("REPA is not supported; remove is_repa, or set it to false")
            }
        case .isParity: isParity = try value.truth()
        default: return false
        }
        return true
    }

    private mutating func setSchedule(
        _ key: SettingKey,
        _ value: SettingValue
    ) throws(SwanError) -> Bool {
        switch key {
        case .steps: steps = try value.integers()
        case .warpsSteps: warpsSteps = try value.truth()
        case .shift: shift = try value.number(in: 0.001...1_000)
        case .trainingTimesteps:
            guard try value.integer(in: 1...1_000_000) == DistillationSchedule.trainingTimesteps
            else { throw value.invalid("must be 1000") }
        case .realGuidance: realGuidance = try value.number(in: -100...100)
        case .fakeGuidance: fakeGuidance = try value.number(in: -100...100)
        case .task: task = try value.choice()
        case .generatorTask: generatorTask = try value.choice()
        case .realTask: realTask = try value.choice()
        case .fakeTask: fakeTask = try value.choice()
        case .denoisingLoss: denoisingLoss = try value.choice()
        case .loss: loss = try value.choice()
        case .isSimulated: isSimulated = try value.truth()
        case .sharesStep: rollout.sharesStep = try value.truth()
        case .lastStepOnly: rollout.lastStepOnly = try value.truth()
        case .contextNoise: rollout.contextNoise = try value.integer(in: 0...1_000)
        case .limitsScores: rollout.limitsScores = try value.truth()
        case .limitsScoresAbove: rollout.limitsScoresAbove = try value.truth()
        case .alpha: rollout.alpha = try value.number(in: -100...100)
        default: return false
        }
        return true
    }

    private mutating func setOptimizers(
        _ key: SettingKey,
        _ value: SettingValue
    ) throws(SwanError) -> Bool {
        switch key {
        case .rate:
            generatorOptimizer.rate = try value.number(in: 0...1)
            criticOptimizer.rate = generatorOptimizer.rate
        case .beta1:
            generatorOptimizer.betas[0] = try value.number(in: 0...0.999_999)
            criticOptimizer.betas[0] = generatorOptimizer.betas[0]
        case .beta2:
            generatorOptimizer.betas[1] = try value.number(in: 0...0.999_999_99)
            criticOptimizer.betas[1] = generatorOptimizer.betas[1]
        case .criticRate: criticOptimizer.rate = try value.number(in: 0...1)
        case .criticBeta1: criticOptimizer.betas[0] = try value.number(in: 0...0.999_999)
        case .criticBeta2: criticOptimizer.betas[1] = try value.number(in: 0...0.999_999_99)
        case .weightDecay: weightDecay = try value.number(in: 0...100)
        case .generatorNorm: generatorOptimizer.maximumNorm = try value.number(in: 1e-9...1e9)
        case .criticNorm: criticOptimizer.maximumNorm = try value.number(in: 1e-9...1e9)
        case .batch: batch = try value.integer(in: 1...100_000)
        case .ratio: ratio = try value.integer(in: 1...1_000_000)
        case .accumulation: accumulation = try value.integer(in: 1...100_000)
        case .mixedPrecision: usesBFloat16 = try value.truth()
        case .checkpointing: checkpointsGradients = try value.truth()
        case .sharding: sharding = try value.sharding()
        case .averageDecay: averageDecay = try value.number(in: 0...0.999_999_99)
        case .averageStart: averageStart = try value.integer(in: 0...1_000_000_000)
        default: return false
        }
        return true
    }

    private mutating func setData(_ key: SettingKey, _ value: SettingValue) throws(SwanError) {
        switch key {
        case .dataPath: dataPath = try value.text()
        case .shape: shape = try value.integers()
        case .trainingFrames: trainingFrames = try value.integer(in: 1...100_000)
        case .separatesBatches: separatesBatches = try value.truth()
        case .maximumRows: maximumRows = try value.integer(in: 1...1_000_000_000_000)
        case .textCache: textCache = try value.text()
        case .heldOutRows: heldOutRows = try value.integer(in: 0...1_000_000)
        case .negativePrompt:
            let read = try NegativePrompt(value.text())
            negativePrompt = read.text
            if let note = read.note { notes.append("negative_prompt: \(note)") }
        case .logSteps: logSteps = try value.integer(in: 1...1_000_000_000)
        case .seed: seed = UInt64(try value.integer(in: 0...Int.max))
        case .maximumSteps: maximumSteps = try value.integer(in: 1...1_000_000_000)
        case .name: name = try value.text()
        default: break
        }
    }
}
