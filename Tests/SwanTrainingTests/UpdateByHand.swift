import Testing
import Torch

@testable import SwanTiny
@testable import SwanTraining

extension TrainedNetwork {
    /// An update outside of a loop: the network's weights follow the gradients of a loss.
    ///
    /// - Parameter check: is given the gradients.
    mutating func follow(
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
