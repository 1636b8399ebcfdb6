public import SwanSystem
public import Torch

/// SDE-DPM-Solver++(2M): DPM-Solver++(2M) for the diffusion SDE, with new noise in every step.
///
/// DPM-Solver++, https://arxiv.org/abs/2211.01095, on diffusion SDEs, as "sde-dpmsolver++" of Wan's
/// `FlowDPMSolverMultistepScheduler` and diffusers' `DPMSolverMultistepScheduler`:
///
///     x_t = sigma_t / sigma_s e^(-h) x_s + alpha_t (1 - e^(-2h)) D + sigma_t sqrt(1 - e^(-2h))
///     noise
///
/// with alpha = 1 - sigma and the D of `FlowDPMSolver`.
public struct FlowSDEDPMSolver: StochasticFlowSolver {
    /// The noise levels and timesteps of the steps.
    public let steps: FlowSteps
    /// The source of noise, on the sample's device.
    public let generator: Generator
    /// The number of completed steps.
    public private(set) var index = 0
    /// The clean sample predicted in the previous step.
    private var last: Tensor?

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
        let target = try extrapolated(x0, after: last)
        let (s, t) = (Double(steps.sigmas[index]), Double(steps.sigmas[index + 1]))
        // e^(-h) without a logarithm, which is infinite at either end of the table.
        let shrinkage = t / s * (1 - s) / (1 - t)
        let fresh = 1 - shrinkage * shrinkage
        let next =
            try x * (t / s * shrinkage) + target * ((1 - t) * fresh)
            + noise.to(x.dtype) * (t * fresh.squareRoot())
        let result = try next.to(sample.dtype)
        (last, index) = (x0, index + 1)
        return result
    }
}
