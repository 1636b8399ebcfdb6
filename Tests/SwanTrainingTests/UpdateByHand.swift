import Testing
import Torch

@testable import SwanTiny
@testable import SwanTraining

extension TrainedNetwork {
    /// Updates the weights by the gradients of a loss, without a training loop.
    ///
    /// - Parameter check: receives the gradients.
    mutating func applyUpdate(
        _ loss: Loss,
        step: Int,
        of steps: Int,
        _ options: OptimizerOptions,
        check: ([Tensor]) -> Void = { _ in }
    ) throws {
        let found = try gradients(of: loss.total, for: parameters)
        let whole = try zip(found, parameters).map { gradient, parameter in
            try gradient ?? parameter.detached().zerosLike()
        }
        check(whole)
        _ = try optimizer.update(
            parameters,
            whole,
            number: updates + 1,
            rate: options.learningRate(step: step, of: steps),
            options
        )
        updates += 1
    }
}
