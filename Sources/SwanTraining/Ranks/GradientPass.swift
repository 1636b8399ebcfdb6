import SwanSystem
import Torch

private let scaleOp = Operator("aten::_foreach_mul_", "Scalar")

/// Computes the mean gradients of an update over all micro-batches of a step.
struct GradientPass<Batch: Sendable>: Sendable {
    let update: Update<Batch>
    /// The batches of this process and their places.
    let batches: [(batch: Batch, place: BatchPlace)]
    let networks: Networks
    let parameters: [Tensor]
    let carry: [String: Tensor]
    let plan: MicroBatchPlan

    /// What the pass computed.
    struct Result {
        /// The mean gradients.
        var gradients: [Tensor]
        /// Of this process's micro-batches: tensors for later updates, and losses.
        let carry: [String: Tensor]
        let losses: [[String: Double]]
        /// The order in which gradients arrived; nil if they did not.
        var arrivals: [Int]?
    }

    /// Computes micro-batches on several threads.
    func concurrently(threads: Int) throws -> Result {
        let results = try concurrentMap(batches.count, threads: threads) { index in
            try microBatch(index)
        }
        var sum = PairwiseSum()
        for result in results { try sum.add(result.gradients) }
        return try result(results, sum.total())
    }

    /// Computes this rank's micro-batches one after the other, in the same order as other ranks.
    ///
    /// - Parameter order: The order of gradients in the backward pass, as an earlier pass found it.
    func amongRanks(order: [Int]?) throws -> Result {
        guard let group = plan.reduction else {
            var sum = PairwiseSum()
            var results: [MicroBatch] = []
            for index in batches.indices {
                let result = try microBatch(index)
                try sum.add(result.gradients)
                results.append(result.withoutGradients)
            }
            return try result(results, sum.total())
        }
        let reducer = try GradientReducer(group, parameters, order: order)
        defer { reducer.cancel() }
        var sum = PairwiseSum()
        var results: [MicroBatch] = []
        for index in batches.indices.dropLast() {
            let result = try microBatch(index)
            try sum.add(result.gradients)
            results.append(result.withoutGradients)
        }
        let earlier = sum
        let last = try microBatch(batches.count - 1) { index, gradient throws(SwanError) in
            try reducer.add(gradient, index, plus: earlier.terms(index))
        }
        results.append(last.withoutGradients)
        var found = try result(results, reducer.finish(plus: earlier.terms))
        found.arrivals = reducer.arrivals
        return found
    }

    private func microBatch(
        _ index: Int,
        arrived: (@Sendable (Int, Tensor) throws(SwanError) -> Void)? = nil
    ) throws -> MicroBatch {
        try MicroBatch(
            update,
            batches[index].batch,
            batches[index].place,
            networks,
            parameters,
            carry,
            arrived: arrived
        )
    }

    private func result(_ batches: [MicroBatch], _ sum: [Tensor]) throws -> Result {
        if plan.parts > 1 {
            try withoutGradients { () throws(SwanError) in
                try scaleOp.run(sum, 1 / Double(plan.parts))
            }
        }
        return Result(
            gradients: sum,
            carry: batches.reduce(into: [:]) { $0.merge($1.carry) { first, _ in first } },
            losses: try batches.map { try $0.lossValues() }
        )
    }
}
