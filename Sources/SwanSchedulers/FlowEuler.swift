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

/// Euler's method with new noise in every step: predicts the clean sample and adds noise of the
/// next level to it.
///
/// x_t = (1 - sigma_t) (x_s - sigma_s flow) + sigma_t noise, as diffusers'
/// `FlowMatchEulerDiscreteScheduler` with `stochastic_sampling`.
public struct FlowRenewingEuler: StochasticFlowSolver {
    /// The noise levels and timesteps of the steps.
    public let steps: FlowSteps
    /// The source of noise, on the sample's device.
    public let generator: Generator
    /// The number of completed steps.
    public private(set) var index = 0

    /// Creates a solver before its first step.
    public init(_ steps: FlowSteps, generator: Generator) {
        (self.steps, self.generator) = (steps, generator)
    }

    /// The sample at the next noise level, with new noise.
    public mutating func step(
        flow: Tensor,
        sample: Tensor,
        noise: Tensor
    ) throws(SwanError) -> Tensor {
        try check(flow, sample, noise)
        let (x, x0) = try converted(flow, sample)
        let level = steps.sigmas[index + 1]
        let next = try x0 * Double(1 - level) + noise.to(x.dtype) * Double(level)
        let result = try next.to(sample.dtype)
        index += 1
        return result
    }
}
