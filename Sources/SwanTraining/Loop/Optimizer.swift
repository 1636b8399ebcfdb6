import SwanSystem
import Torch

private let fusedAdamWOp = Operator("aten::_fused_adamw_")
private let normsOp = Operator("aten::_foreach_norm", "Scalar")
private let addOp = Operator("aten::_foreach_add_", "List")
private let scaleOp = Operator("aten::_foreach_mul_", "Scalar")
private let lerpOp = Operator("aten::_foreach_lerp_", "Scalar")

/// The optimizer of one role: AdamW (https://arxiv.org/abs/1711.05101), with `Muon` for selected
/// matrices, gradient clipping before and a moving average of the weights after each update.
struct Optimizer {
    /// The moving averages of the gradients.
    private(set) var firstMoments: [Tensor]
    /// The moving averages of the squared gradients; nil for parameters updated by Muon, which has
    /// none.
    private(set) var secondMoments: [Tensor?]
    /// The moving average of the weights.
    private(set) var averages: [Tensor]

    /// Creates an optimizer without history.
    ///
    /// - Parameter muon: The indices of the parameters to update by Muon; they must be matrices.
    init(for parameters: [Tensor], muon: Set<Int> = []) throws(SwanError) {
        firstMoments = []
        secondMoments = []
        averages = []
        for (index, parameter) in parameters.enumerated() {
            let parameter = try parameter.detached()
            firstMoments.append(try parameter.zerosLike())
            secondMoments.append(muon.contains(index) ? nil : try parameter.zerosLike())
            averages.append(try parameter.cloned())
        }
    }

    /// Restores an optimizer from an earlier run.
    init(firstMoments: [Tensor], secondMoments: [Tensor?], averages: [Tensor]) {
        self.firstMoments = firstMoments
        self.secondMoments = secondMoments
        self.averages = averages
    }

    /// Returns the mean of several sets of gradients. They are summed in order, so that the result
    /// does not depend on which thread finished first.
    static func mean(_ sets: [[Tensor]]) throws(SwanError) -> [Tensor] {
        guard sets.count > 1 else { return sets.first ?? [] }
        return try withoutGradients { () throws(SwanError) in
            for set in sets.dropFirst() { try addOp.run(sets[0], set, 1) }
            try scaleOp.run(sets[0], 1 / Double(sets.count))
            return sets[0]
        }
    }

    /// Updates `parameters` in place; returns the norm of the gradients before clipping.
    ///
    /// - Parameters:
    ///   - number: The number of this update of the parameters, counted from 1.
    ///   - rate: The learning rate.
    ///   - threads: The number of matrices that Muon updates concurrently.
    func update(
        _ parameters: [Tensor],
        _ gradients: [Tensor],
        number: Int,
        rate: Double,
        _ options: OptimizerOptions,
        threads: Int = 1
    ) throws -> Double {
        try withoutGradients {
            // The fused operator ignores strides: a gradient with a memory layout other than its
            // weight's would be applied to the wrong elements.
            let gradients = try gradients.map { try $0.contiguous() }
            let norm = try stacked(normsOp.tensors(gradients, 2)).norm().item()
            guard norm.isFinite else { return norm }
            if norm > options.maximumGradientNorm {
                try scaleOp.run(gradients, options.maximumGradientNorm / (norm + 1e-6))
            }
            try stepByAdamW(parameters, gradients, number: number, rate, options)
            try stepByMuon(parameters, gradients, rate, options, threads: threads)
            // Early on, a long average would contain little but the initial weights.
            let decay = min(options.averageDecay, Double(number) / Double(number + 9))
            try lerpOp.run(averages, parameters, 1 - decay)
            return norm
        }
    }

    /// Updates all tensors in a single libtorch call.
    private func stepByAdamW(
        _ parameters: [Tensor],
        _ gradients: [Tensor],
        number: Int,
        _ rate: Double,
        _ options: OptimizerOptions
    ) throws(SwanError) {
        let places = secondMoments.indices.filter { secondMoments[$0] != nil }
        guard let first = places.first else { return }
        // The operator needs the step number as a tensor for each parameter.
        let count = try Tensor.full([], Double(number), .float32, parameters[first].device)
        let largest: [Tensor] = []
        try fusedAdamWOp.run(
            places.map { parameters[$0] },
            places.map { gradients[$0] },
            places.map { firstMoments[$0] },
            places.compactMap { secondMoments[$0] },
            largest,
            places.map { _ in count },
            rate,
            options.betas[0],
            options.betas[1],
            options.weightDecay,
            1e-8,
            false,
            false
        )
    }

    private func stepByMuon(
        _ parameters: [Tensor],
        _ gradients: [Tensor],
        _ rate: Double,
        _ options: OptimizerOptions,
        threads: Int
    ) throws {
        let places = secondMoments.indices.filter { secondMoments[$0] == nil }
        let muon = Muon(rate: rate, weightDecay: options.weightDecay)
        _ = try concurrentMap(places.count, threads: threads) { [firstMoments] index in
            let place = places[index]
            try muon.step(parameters[place], gradients[place], momentum: firstMoments[place])
        }
    }
}
