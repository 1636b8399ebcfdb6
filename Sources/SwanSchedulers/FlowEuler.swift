public import SwanSystem
public import Torch

/// Euler's method: a straight step along the flow to the next noise level.
///
/// x_t = x_s + (sigma_t - sigma_s) flow, as diffusers' `FlowMatchEulerDiscreteScheduler`; its table
/// has the spacing `diffusersEuler`.
public struct FlowEuler: FlowSolver {
    /// The noise levels and timesteps of the steps.
    public let steps: FlowSteps
    /// The number of completed steps.
    public private(set) var index = 0

    /// Creates a solver before its first step.
    public init(_ steps: FlowSteps) { self.steps = steps }

    /// The sample at the next noise level.
    public mutating func step(flow: Tensor, sample: Tensor) throws(SwanError) -> Tensor {
        let (v, x) = try prepared(flow, sample)
        // The difference of two floats, as in the reference.
        let change = Double(steps.sigmas[index + 1] - steps.sigmas[index])
        let next = try (x + v * change).to(sample.dtype)
        index += 1
        return next
    }
}
