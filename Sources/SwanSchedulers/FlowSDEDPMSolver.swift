public import SwanSystem
public import Torch

/// SDE-DPM-Solver++: DPM-Solver++ for the diffusion SDE, with new noise in every step.
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
    private let settings: FlowSolverSettings
    /// The clean samples predicted in the previous steps, the newest first.
    private var earlier: [Tensor] = []

    /// Creates a solver before its first step.
    public init(
        _ steps: FlowSteps,
        _ settings: FlowSolverSettings = FlowSolverSettings(),
        generator: Generator
    ) {
        (self.steps, self.settings, self.generator) = (steps, settings, generator)
    }

    /// The sample at the next noise level, with new noise.
    public mutating func step(
        flow: Tensor,
        sample: Tensor,
        noise: Tensor
    ) throws(SwanError) -> Tensor {
        try check(flow, sample, noise)
        let (x, x0) = try converted(flow, sample)
        let (s, t) = (Double(steps.sigmas[index]), Double(steps.sigmas[index + 1]))
        // e^(-h) without a logarithm, which is infinite at either end of the table.
        let shrinkage = t / s * (1 - s) / (1 - t)
        let fresh = 1 - shrinkage * shrinkage
        let gain = (1 - t) * fresh
        let terms = MultistepTerms(steps, index, settings, earlier: earlier.count)
        let target =
            if terms.isUsual {
                try terms.extrapolated(x0, earlier) * gain
            } else {
                // diffusers' term of third order has another sign here than for the ODE.
                try terms.integral(x0, earlier, gain: gain, time: 2 * terms.h, sign: -1)
            }
        let next =
            try x * (t / s * shrinkage) + target + noise.to(x.dtype) * (t * fresh.squareRoot())
        let result = try next.to(sample.dtype)
        earlier = [x0] + earlier.prefix(settings.order - 1)
        index += 1
        return result
    }
}
