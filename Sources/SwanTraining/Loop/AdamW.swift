import Foundation
import Torch

private let fusedAdamWOp = Operator("aten::_fused_adamw_")
private let normsOp = Operator("aten::_foreach_norm", "Scalar")
private let addOp = Operator("aten::_foreach_add_", "List")
private let scaleOp = Operator("aten::_foreach_mul_", "Scalar")
private let lerpOp = Operator("aten::_foreach_lerp_", "Scalar")

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
    /// Decoupled weight decay.
    public var weightDecay: Double
    /// The Euclidean norm that all gradients together are cut to.
    public var maximumGradientNorm: Double
    /// The decay of the moving average of weights, which is what is kept in the end.
    public var averageDecay: Double
    /// Batches whose mean gradient makes a step; as many as the recipe has threads are worked on at a
    /// time. One if it is not given.
    public var microBatches: Int?

    private enum CodingKeys: String, CodingKey {
        case learningRate = "learning_rate", warmUpSteps = "warm_up_steps"
        case decayFrom = "decay_from", finalRate = "final_rate", betas
        case weightDecay = "weight_decay", maximumGradientNorm = "maximum_gradient_norm"
        case averageDecay = "average_decay", microBatches = "micro_batches"
    }

    /// The learning rate of a step, counted from 0, of `steps` in all.
    public func learningRate(step: Int, of steps: Int) -> Double {
        let rise = warmUpSteps > 0 ? min(1, Double(step + 1) / Double(warmUpSteps)) : 1
        let part = Double(step) / Double(max(1, steps))
        guard part > decayFrom, decayFrom < 1 else { return learningRate * rise }
        let cosine = 0.5 * (1 + cos(.pi * (part - decayFrom) / (1 - decayFrom)))
        return learningRate * rise * max(finalRate, cosine)
    }
}

/// AdamW with decoupled decay (https://arxiv.org/abs/1711.05101), clipping and a moving average.
///
/// All tensors of a kind go through the engine in one call.
struct AdamW {
    /// Moving averages of gradients and of their squares.
    private(set) var firstMoments, secondMoments: [Tensor]
    /// The moving average of the weights.
    private(set) var averages: [Tensor]

    /// Nothing seen yet.
    init(for parameters: [Tensor]) throws(TorchError) {
        firstMoments = []
        secondMoments = []
        averages = []
        for parameter in parameters {
            firstMoments.append(try parameter.detached().zerosLike())
            secondMoments.append(try parameter.detached().zerosLike())
            averages.append(try parameter.detached().cloned())
        }
    }

    /// What an earlier run had seen.
    init(firstMoments: [Tensor], secondMoments: [Tensor], averages: [Tensor]) {
        self.firstMoments = firstMoments
        self.secondMoments = secondMoments
        self.averages = averages
    }

    /// The mean of several sets of gradients, added up in their order so that the last bits do not
    /// depend on who was done first.
    static func mean(_ sets: [[Tensor]]) throws(TorchError) -> [Tensor] {
        guard sets.count > 1 else { return sets.first ?? [] }
        return try withoutGradients { () throws(TorchError) in
            for set in sets.dropFirst() { try addOp.run(sets[0], set, 1) }
            try scaleOp.run(sets[0], 1 / Double(sets.count))
            return sets[0]
        }
    }

    /// Changes `parameters` in place; returns the norm of the gradients before they were cut.
    func update(
        _ parameters: [Tensor],
        _ gradients: [Tensor],
        step: Int,
        of steps: Int,
        _ options: OptimizerOptions
    ) throws(TorchError) -> Double {
        try withoutGradients { () throws(TorchError) in
            // The fused operator goes through memory, not through indices: a gradient that lies in
            // memory in another order than its weight would be applied to the wrong elements.
            let gradients = try gradients.map { gradient throws(TorchError) in
                try gradient.contiguous()
            }
            let norm = try stacked(normsOp.tensors(gradients, 2)).norm().item()
            guard norm.isFinite else { return norm }
            if norm > options.maximumGradientNorm {
                try scaleOp.run(gradients, options.maximumGradientNorm / (norm + 1e-6))
            }
            // The operator counts steps from 1, in a tensor for each parameter.
            let count = try Tensor.full([], Double(step + 1))
            let largest: [Tensor] = []
            try fusedAdamWOp.run(
                parameters,
                gradients,
                firstMoments,
                secondMoments,
                largest,
                parameters.map { _ in count },
                options.learningRate(step: step, of: steps),
                options.betas[0],
                options.betas[1],
                options.weightDecay,
                1e-8,
                false,
                false
            )
            // Early on a long average would hold little but the start.
            let decay = min(options.averageDecay, Double(step + 1) / Double(step + 10))
            try lerpOp.run(averages, parameters, 1 - decay)
            return norm
        }
    }
}
