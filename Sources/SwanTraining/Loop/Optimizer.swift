import SwanSystem
import Torch

private let fusedAdamWOp = Operator("aten::_fused_adamw_")
private let normsOp = Operator("aten::_foreach_norm", "Scalar")
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

    /// Updates `parameters` in place; returns the norm of the gradients before clipping.
    ///
    /// - Parameters:
    ///   - number: The number of this update of the parameters, counted from 1.
    ///   - rate: The learning rate.
    ///   - threads: The number of matrices that Muon updates concurrently.
    ///   - sharing: How the ranks share the parameters, if each has a part of them.
    func update(
        _ parameters: [Tensor],
        _ gradients: [Tensor],
        number: Int,
        rate: Double,
        _ options: OptimizerOptions,
        threads: Int = 1,
        sharing: WeightSharing? = nil
    ) throws -> Double {
        guard let sharing else {
            return try update(parameters, gradients, number, rate, options, threads, nil)
        }
        return try own(of: sharing).update(
            sharing.own(of: parameters.map { try $0.detached() }),
            sharing.own(of: gradients),
            number,
            rate,
            options,
            threads,
            sharing
        )
    }

    /// The same optimizer for the elements that a rank has, without the zeros after them.
    private func own(of sharing: WeightSharing) throws(SwanError) -> Optimizer {
        var seconds: [Tensor?] = []
        for (index, moment) in secondMoments.enumerated() {
            guard let moment else {
                seconds.append(nil)
                continue
            }
            seconds.append(try sharing.own(of: moment, index))
        }
        return Optimizer(
            firstMoments: try sharing.own(of: firstMoments),
            secondMoments: seconds,
            averages: try sharing.own(of: averages)
        )
    }

    private func update(
        _ parameters: [Tensor],
        _ gradients: [Tensor],
        _ number: Int,
        _ rate: Double,
        _ options: OptimizerOptions,
        _ threads: Int,
        _ sharing: WeightSharing?
    ) throws -> Double {
        try withoutGradients {
            // The fused operator ignores strides: a gradient with a memory layout other than its
            // weight's would be applied to the wrong elements.
            let gradients = try gradients.map { try $0.contiguous() }
            let norm = try Self.norm(gradients, sharing)
            guard norm.isFinite else { return norm }
            if norm > options.maximumGradientNorm {
                try scaleOp.run(gradients, options.maximumGradientNorm / (norm + 1e-6))
            }
            try stepByAdamW(parameters, gradients, number: number, rate, options)
            if let sharing {
                try stepByMuon(parameters, gradients, rate, options, sharing)
            } else {
                try stepByMuon(parameters, gradients, rate, options, threads: threads)
            }
            try lerpOp.run(averages, parameters, 1 - options.averageDecay(atUpdate: number))
            return norm
        }
    }

    /// The norm of all gradients together, in float64: the bits of a sum in float32 would depend on
    /// how ranks share it.
    private static func norm(
        _ gradients: [Tensor],
        _ sharing: WeightSharing?
    ) throws(SwanError) -> Double {
        guard !gradients.isEmpty else { return 0 }
        let squares = try stacked(normsOp.tensors(gradients, 2, DType.float64)).pow(2).sum()
        try sharing?.group.reduce(squares)
        return try squares.item().squareRoot()
    }

    /// Updates all tensors in a single libtorch call.
    private func stepByAdamW(
        _ parameters: [Tensor],
        _ gradients: [Tensor],
        number: Int,
        _ rate: Double,
        _ options: OptimizerOptions
    ) throws(SwanError) {
        let places = secondMoments.indices.filter {
            secondMoments[$0] != nil && parameters[$0].count > 0
        }
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

    /// The same where each rank has a part of each matrix; all ranks update the same in turn.
    private func stepByMuon(
        _ parameters: [Tensor],
        _ gradients: [Tensor],
        _ rate: Double,
        _ options: OptimizerOptions,
        _ sharing: WeightSharing
    ) throws(SwanError) {
        let muon = Muon(rate: rate, weightDecay: options.weightDecay)
        for place in secondMoments.indices where secondMoments[place] == nil {
            try muon.step(
                parameters[place],
                gradients[place],
                momentum: firstMoments[place],
                shape: sharing.shapes[place],
                sharing.group
            )
        }
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
