public import SwanSystem
public import Torch

/// DPM-Solver++: exact in the linear part, with the clean sample extrapolated from up to three
/// predictions.
///
/// DPM-Solver++, https://arxiv.org/abs/2211.01095, algorithm 2, as Wan's
/// `FlowDPMSolverMultistepScheduler` and diffusers' `DPMSolverMultistepScheduler`.
/// With alpha = 1 - sigma the paper's alpha_t (1 - e^(-h)) is 1 - sigma_t / sigma_s:
///
///     x_t = sigma_t / sigma_s x_s + (1 - sigma_t / sigma_s) D
///
/// where m_s is the predicted clean sample and D = m_s in a step of order 1. In a step of order 2
/// D = m_s + (m_s - m_r) / (2 ratio), where r is the step before s and ratio = (lambda_s -
/// lambda_r) / h. `MultistepTerms` has the other forms.
public struct FlowDPMSolver: FlowSolver {
    /// The noise levels and timesteps of the steps.
    public let steps: FlowSteps
    /// The number of completed steps.
    public private(set) var index = 0
    private let settings: FlowSolverSettings
    /// The clean samples predicted in the previous steps, the newest first.
    private var earlier: [Tensor] = []

    /// Creates a solver before its first step.
    public init(_ steps: FlowSteps, _ settings: FlowSolverSettings = FlowSolverSettings()) {
        (self.steps, self.settings) = (steps, settings)
    }

    /// The sample at the next noise level.
    public mutating func step(flow: Tensor, sample: Tensor) throws(SwanError) -> Tensor {
        let (x, x0) = try converted(flow, sample)
        let decay = Double(steps.sigmas[index + 1]) / Double(steps.sigmas[index])
        let terms = MultistepTerms(steps, index, settings, earlier: earlier.count)
        let gain = 1 - decay
        let target =
            if terms.isUsual {
                try terms.extrapolated(x0, earlier) * gain
            } else {
                try terms.integral(x0, earlier, gain: gain, time: terms.h, sign: 1)
            }
        let next = try (x * decay + target).to(sample.dtype)
        earlier = [x0] + earlier.prefix(settings.order - 1)
        index += 1
        return next
    }
}

/// The part of a step of DPM-Solver++ that depends on earlier predictions.
///
/// With D1 and D2 the first and second divided differences of the predictions over lambda, in
/// units of h, as in diffusers' second and third order updates.
struct MultistepTerms {
    /// The number of predictions that the step uses.
    let order: Int
    /// The change in lambda; infinite for a step to noise level 0, which is of order 1.
    let h: Double
    /// (lambda_s - lambda_r) / h, and the same of the step before.
    private let ratios: [Double]
    /// 1 - sigma at the end of the step.
    private let alpha: Double
    /// Whether this is a step of order 1, or of order 2 and the usual form.
    let isUsual: Bool

    init(_ steps: FlowSteps, _ index: Int, _ settings: FlowSolverSettings, earlier: Int) {
        let isShort = settings.lowersFinalOrder && steps.count < 15
        let isLast = index + 1 == steps.count
        // Lambda is infinite at a noise level of 0, where extrapolation is not useful.
        let isFirstOrder =
            isLast && (settings.endsWithEuler || isShort || steps.sigmas[index + 1] == 0)
        let most = isFirstOrder ? 1 : isShort && index + 2 == steps.count ? 2 : 3
        let order = min(most, settings.order, earlier + 1)
        let lambda = steps.logSNR(index)
        let h = steps.logSNR(index + 1) - lambda
        ratios = (1..<max(order, 1)).map { back in
            (steps.logSNR(index - back + 1) - steps.logSNR(index - back)) / h
        }
        (self.order, self.h) = (order, h)
        alpha = 1 - Double(steps.sigmas[index + 1])
        isUsual = order == 1 || order == 2 && settings.form != .heun
    }

    /// D: the prediction in the middle of the step.
    func extrapolated(_ x0: Tensor, _ earlier: [Tensor]) throws(SwanError) -> Tensor {
        guard order > 1 else { return x0 }
        return try x0 + (x0 - earlier[0]) * (0.5 / ratios[0])
    }

    /// The integral of the interpolated predictions over the step.
    ///
    /// - Parameters:
    ///   - gain: The weight of a constant prediction, alpha (1 - e^(-time)).
    ///   - time: h, or 2 h for the diffusion SDE.
    ///   - sign: That of the terms of third order other than the gain.
    func integral(
        _ x0: Tensor,
        _ earlier: [Tensor],
        gain: Double,
        time: Double,
        sign: Double
    ) throws(SwanError) -> Tensor {
        let slope = alpha - gain / time
        let first = try (x0 - earlier[0]) * (1 / ratios[0])
        guard order > 2 else { return try x0 * gain + first * slope }
        let second = try first - (earlier[0] - earlier[1]) * (1 / ratios[1])
        let sum = ratios[0] + ratios[1]
        let d1 = try first + second * (ratios[0] / sum)
        let curvature = gain / (time * time) - alpha / time + sign * alpha / 2
        return try x0 * gain + d1 * slope + second * (curvature / sum)
    }
}
