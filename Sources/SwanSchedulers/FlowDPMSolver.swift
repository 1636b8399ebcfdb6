public import SwanSystem
public import Torch

/// DPM-Solver++(2M): exact in the linear part, with the clean sample extrapolated from two
/// predictions.
///
/// DPM-Solver++, https://arxiv.org/abs/2211.01095, algorithm 2, as Wan's
/// `FlowDPMSolverMultistepScheduler` and diffusers' `DPMSolverMultistepScheduler` ("midpoint").
/// With alpha = 1 - sigma the paper's alpha_t (1 - e^(-h)) is 1 - sigma_t / sigma_s:
///
///     x_t = sigma_t / sigma_s x_s + (1 - sigma_t / sigma_s) D
///
/// where m_s is the predicted clean sample and D = m_s in the first and the last step. In the other
/// steps D = m_s + (m_s - m_r) / (2 ratio), where r is the step before s and ratio = (lambda_s -
/// lambda_r) / h.
public struct FlowDPMSolver: FlowSolver {
    /// The noise levels and timesteps of the steps.
    public let steps: FlowSteps
    /// The number of completed steps.
    public private(set) var index = 0
    /// The clean sample predicted in the previous step.
    private var last: Tensor?

    /// Creates a solver before its first step.
    public init(_ steps: FlowSteps) { self.steps = steps }

    /// The sample at the next noise level.
    public mutating func step(flow: Tensor, sample: Tensor) throws(SwanError) -> Tensor {
        let (x, x0) = try converted(flow, sample)
        let target = try extrapolated(x0, after: last)
        let decay = Double(steps.sigmas[index + 1]) / Double(steps.sigmas[index])
        let next = try (x * decay + target * (1 - decay)).to(sample.dtype)
        (last, index) = (x0, index + 1)
        return next
    }
}

extension FlowSolver {
    /// D of this step, from the clean samples predicted in this step and the previous one.
    func extrapolated(_ x0: Tensor, after last: Tensor?) throws(SwanError) -> Tensor {
        // Lambda is infinite at a noise level of 0, where linear extrapolation is not useful.
        guard let last, index + 1 < steps.count else { return x0 }
        let lambda = steps.logSNR(index)
        let ratio = (lambda - steps.logSNR(index - 1)) / (steps.logSNR(index + 1) - lambda)
        return try x0 + (x0 - last) * (0.5 / ratio)
    }
}
