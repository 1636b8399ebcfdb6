import Foundation

/// How an optimizer changes weights.
public struct OptimizerOptions: Codable, Sendable, Equatable {
    /// The highest learning rate.
    public var learningRate: Double
    /// Steps over which the rate rises from nothing.
    public var warmUpSteps: Int
    /// The part of all steps after which the rate falls along a cosine, 0 ... 1.
    public var decayFrom: Double
    /// The rate at the end, as a part of the highest.
    public var finalRate: Double
    /// Adam's two decay rates.
    public var betas: [Double]
    /// Whether the matrices of hidden layers learn by Muon, and only what is left by AdamW; not if it
    /// is not given.
    public var muon: Bool?
    /// Decoupled weight decay.
    public var weightDecay: Double
    /// The Euclidean norm that all gradients together are cut to.
    public var maximumGradientNorm: Double
    /// The decay of the moving average of weights, which is what is kept in the end.
    public var averageDecay: Double
    /// Batches whose mean gradient makes a step; as many as the recipe has threads are worked on at a
    /// time. One if it is not given.
    public var microBatches: Int?

    /// Options of an optimizer, in the order of the properties.
    package init(
        learningRate: Double,
        warmUpSteps: Int,
        decayFrom: Double,
        finalRate: Double,
        betas: [Double],
        muon: Bool? = nil,
        weightDecay: Double,
        maximumGradientNorm: Double,
        averageDecay: Double,
        microBatches: Int? = nil
    ) {
        self.learningRate = learningRate
        self.warmUpSteps = warmUpSteps
        self.decayFrom = decayFrom
        self.finalRate = finalRate
        self.betas = betas
        self.muon = muon
        self.weightDecay = weightDecay
        self.maximumGradientNorm = maximumGradientNorm
        self.averageDecay = averageDecay
        self.microBatches = microBatches
    }

    private enum CodingKeys: String, CodingKey {
        case learningRate = "learning_rate", warmUpSteps = "warm_up_steps"
        case decayFrom = "decay_from", finalRate = "final_rate", betas, muon
        case weightDecay = "weight_decay", maximumGradientNorm = "maximum_gradient_norm"
        case averageDecay = "average_decay", microBatches = "micro_batches"
    }

    /// The learning rate of a step of the run, counted from 0, of `steps` in all.
    public func learningRate(step: Int, of steps: Int) -> Double {
        let rise = warmUpSteps > 0 ? min(1, Double(step + 1) / Double(warmUpSteps)) : 1
        let part = Double(step) / Double(max(1, steps))
        guard part > decayFrom, decayFrom < 1 else { return learningRate * rise }
        let cosine = 0.5 * (1 + cos(.pi * (part - decayFrom) / (1 - decayFrom)))
        return learningRate * rise * max(finalRate, cosine)
    }
}
