import SwanSystem
import Torch

private let fusedAdamWOp = Operator("aten::_fused_adamw_")
private let normsOp = Operator("aten::_foreach_norm", "Scalar")
private let addOp = Operator("aten::_foreach_add_", "List")
private let scaleOp = Operator("aten::_foreach_mul_", "Scalar")
private let lerpOp = Operator("aten::_foreach_lerp_", "Scalar")

/// What changes weights: AdamW (https://arxiv.org/abs/1711.05101), and `Muon` for the matrices that are
/// given to it; clipping before, and a moving average of the weights after.
struct Optimizer {
    /// Moving averages of gradients.
    private(set) var firstMoments: [Tensor]
    /// Moving averages of their squares; nil for what learns by Muon, which has none.
    private(set) var secondMoments: [Tensor?]
    /// The moving average of the weights.
    private(set) var averages: [Tensor]

    /// Nothing seen yet.
    ///
    /// - Parameter muon: the places of those parameters that learn by Muon: matrices.
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

    /// What an earlier run had seen.
    init(firstMoments: [Tensor], secondMoments: [Tensor?], averages: [Tensor]) {
        self.firstMoments = firstMoments
        self.secondMoments = secondMoments
        self.averages = averages
    }

    /// The mean of several sets of gradients, added up in their order so that the last bits do not
    /// depend on who was done first.
    static func mean(_ sets: [[Tensor]]) throws(SwanError) -> [Tensor] {
        guard sets.count > 1 else { return sets.first ?? [] }
        return try withoutGradients { () throws(SwanError) in
            for set in sets.dropFirst() { try addOp.run(sets[0], set, 1) }
            try scaleOp.run(sets[0], 1 / Double(sets.count))
            return sets[0]
        }
    }

    /// Changes `parameters` in place; returns the norm of the gradients before they were cut.
    ///
    /// - Parameters:
    ///   - number: which update of these parameters it is, counted from 1.
    ///   - rate: the learning rate.
    ///   - threads: how many matrices Muon works on at a time.
    func update(
        _ parameters: [Tensor],
        _ gradients: [Tensor],
        number: Int,
        rate: Double,
        _ options: OptimizerOptions,
        threads: Int = 1
    ) throws -> Double {
        try withoutGradients {
            // The fused operator goes through memory, not through indices: a gradient that lies in
            // memory in another order than its weight would be applied to the wrong elements.
            let gradients = try gradients.map { try $0.contiguous() }
            let norm = try stacked(normsOp.tensors(gradients, 2)).norm().item()
            guard norm.isFinite else { return norm }
            if norm > options.maximumGradientNorm {
                try scaleOp.run(gradients, options.maximumGradientNorm / (norm + 1e-6))
            }
            try stepByAdamW(parameters, gradients, number: number, rate, options)
            try stepByMuon(parameters, gradients, rate, options, threads: threads)
            // Early on a long average would hold little but the start.
            let decay = min(options.averageDecay, Double(number) / Double(number + 9))
            try lerpOp.run(averages, parameters, 1 - decay)
            return norm
        }
    }

    /// All tensors go through the engine in one call.
    private func stepByAdamW(
        _ parameters: [Tensor],
        _ gradients: [Tensor],
        number: Int,
        _ rate: Double,
        _ options: OptimizerOptions
    ) throws(SwanError) {
        let places = secondMoments.indices.filter { secondMoments[$0] != nil }
        guard let first = places.first else { return }
        // The operator wants the number in a tensor for each parameter.
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
        _ = try SideBySide.map(places.count, threads: threads) { [firstMoments] index in
            let place = places[index]
            try muon.step(parameters[place], gradients[place], momentum: firstMoments[place])
        }
    }
}
