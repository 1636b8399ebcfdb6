import Foundation

/// The options of an optimizer and its learning rate schedule.
package struct OptimizerOptions: Codable, Sendable, Equatable {
    /// The peak learning rate.
    package var learningRate: Double
    /// The number of steps over which the learning rate rises linearly from zero.
    package var warmUpSteps: Int
    /// The fraction of all steps, in [0, 1], after which the learning rate decays along a cosine.
    package var decayFrom: Double
    /// The final learning rate, as a fraction of the peak.
    package var finalRate: Double
    /// Adam's two decay rates.
    package var betas: [Double]
    /// Whether the matrices of hidden layers are updated by Muon and only the other parameters by
    /// AdamW; defaults to false.
    package var muon: Bool?
    /// Decoupled weight decay.
    package var weightDecay: Double
    /// The maximum Euclidean norm of all gradients together; larger gradients are scaled down.
    package var maximumGradientNorm: Double
    /// The decay of the moving average of the weights, which is what the trained model contains.
    package var averageDecay: Double
    /// The number of updates after which an average is kept, with its full decay from the start; until
    /// then the average is the weights. Nil for an average that grows with the updates. Not a key of
    /// recipes.
    package var averageAfter: Int?
    /// The number of micro-batches whose mean gradient makes a step, defaults to 1. Up to the
    /// recipe's `threads` of them run concurrently.
    package var microBatches: Int?

    /// Creates options; the parameters are in the order of the properties.
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
        averageAfter: Int? = nil,
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
        self.averageAfter = averageAfter
        self.microBatches = microBatches
    }

    private enum CodingKeys: String, CodingKey {
        case learningRate = "learning_rate", warmUpSteps = "warm_up_steps"
        case decayFrom = "decay_from", finalRate = "final_rate", betas, muon
        case weightDecay = "weight_decay", maximumGradientNorm = "maximum_gradient_norm"
        case averageDecay = "average_decay", microBatches = "micro_batches"
    }

    /// The decay of the average of weights at update `number`, counted from 1.
    func averageDecay(atUpdate number: Int) -> Double {
        if let averageAfter { return number > averageAfter ? averageDecay : 0 }
        // Early on, a long average would contain little but the initial weights.
        return min(averageDecay, Double(number) / Double(number + 9))
    }

    /// Returns the learning rate of a step, counted from 0, in a run of `steps` steps.
    package func learningRate(step: Int, of steps: Int) -> Double {
        let rise = warmUpSteps > 0 ? min(1, Double(step + 1) / Double(warmUpSteps)) : 1
        let part = Double(step) / Double(max(1, steps))
        guard part > decayFrom, decayFrom < 1 else { return learningRate * rise }
        let cosine = 0.5 * (1 + cos(.pi * (part - decayFrom) / (1 - decayFrom)))
        return learningRate * rise * max(finalRate, cosine)
    }
}
