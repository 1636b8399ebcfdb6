import SwanSystem
package import Torch

/// A sample's way from noise to data by Euler's method along a flow (rectified flow,
/// https://arxiv.org/abs/2209.03003).
package struct EulerPath: Sendable, Equatable {
    /// The number of steps.
    package var steps: Int
    /// The shift of the noise levels toward more noise.
    package var shift: Double

    /// Creates a path.
    package init(steps: Int, shift: Double) { (self.steps, self.shift) = (steps, shift) }

    /// The noise level s u / (1 + (s - 1) u) before a step, with u = 1 - step / steps.
    package func level(_ step: Int) -> Double {
        let u = 1 - Double(step) / Double(steps)
        return shift * u / (1 + (shift - 1) * u)
    }

    /// Follows a flow from noise.
    ///
    /// - Parameter flow: The flow at x and a noise level.
    package func callAsFunction(
        from noise: Tensor,
        flow: (_ x: Tensor, _ level: Double) throws -> Tensor
    ) throws -> Tensor {
        var x = noise
        for step in 0..<steps {
            x = try x + flow(x, level(step)) * (level(step + 1) - level(step))
        }
        return x
    }
}
