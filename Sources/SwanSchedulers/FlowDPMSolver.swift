import Torch

/// DPM-Solver++(2M): exact in the linear part, the clean sample extrapolated from two predictions.
///
/// DPM-Solver++, https://arxiv.org/abs/2211.01095, algorithm 2, as Wan's
/// `FlowDPMSolverMultistepScheduler` and diffusers' `DPMSolverMultistepScheduler` ("midpoint"). With
/// alpha = 1 - sigma the paper's alpha_t (1 - e^(-h)) is 1 - sigma_t / sigma_s:
///
///     x_t = sigma_t / sigma_s x_s + (1 - sigma_t / sigma_s) D
///
/// where m_s is the clean sample predicted and D = m_s in the first and the last step; in the others
/// D = m_s + (m_s - m_r) / (2 ratio), with r a step before s and ratio = (lambda_s - lambda_r) / h.
public struct FlowDPMSolver: FlowSolver {
    /// The noise levels and timesteps that it goes through.
    public let steps: FlowSteps
    /// How many steps have been taken.
    public private(set) var index = 0
    /// The clean sample predicted a step earlier.
    private var last: Tensor?

    /// A solver before its first step.
    public init(_ steps: FlowSteps) { self.steps = steps }

    /// The sample at the next noise level.
    public mutating func step(flow: Tensor, sample: Tensor) throws(TorchError) -> Tensor {
        let (x, x0) = try converted(flow, sample)
        let target = try extrapolated(x0, after: last)
        let decay = Double(steps.sigmas[index + 1]) / Double(steps.sigmas[index])
        let next = try (x * decay + target * (1 - decay)).to(sample.dtype)
        (last, index) = (x0, index + 1)
        return next
    }
}

extension FlowSolver {
    /// D of this step, of the clean sample predicted here and the one predicted a step earlier.
    func extrapolated(_ x0: Tensor, after last: Tensor?) throws(TorchError) -> Tensor {
        // To a level of 0 lambda goes infinitely far: a line through two predictions is no help.
        guard let last, index + 1 < steps.count else { return x0 }
        let lambda = steps.logSNR(index)
        let ratio = (lambda - steps.logSNR(index - 1)) / (steps.logSNR(index + 1) - lambda)
        return try x0 + (x0 - last) * (0.5 / ratio)
    }
}
