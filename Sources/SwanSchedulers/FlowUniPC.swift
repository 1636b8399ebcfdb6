import Foundation
import Torch

/// UniPC of order 2: a multistep predictor, and a corrector that costs no call of the network.
///
/// UniPC, https://arxiv.org/abs/2302.04867, UniP-p and UniC-p for a network that predicts the clean
/// sample m, with B(h) = e^(-h) - 1 ("bh2"), as Wan's `FlowUniPCMultistepScheduler` and diffusers'
/// `UniPCMultistepScheduler`. With alpha = 1 - sigma the paper's alpha_t (1 - e^(-h)) is
/// 1 - sigma_t / sigma_s, here `gain`, so that no end of the table needs an exception:
///
///     x_t = sigma_t / sigma_s x_s + gain (m_s + sum_i rho_i D_i),  D_i = (m_i - m_s) / r_i
///
/// where r_i = (lambda_i - lambda_s) / h. The predictor knows levels before s, the corrector also t.
/// The first and the last step are of order 1.
public struct FlowUniPC: FlowSolver {
    /// The noise levels and timesteps that it goes through.
    public let steps: FlowSteps
    /// How many steps have been taken.
    public private(set) var index = 0
    /// What the corrector of the next step goes back to.
    private var last: Step?

    /// One step as the corrector needs it.
    private struct Step: Sendable {
        /// The sample where the step began, corrected.
        let x: Tensor
        /// The clean sample predicted there.
        let m: Tensor
        /// The clean sample predicted a step earlier; nil where the step was of order 1.
        let earlier: Tensor?
    }

    /// A solver before its first step.
    public init(_ steps: FlowSteps) { self.steps = steps }

    /// The sample at the next noise level; this one is corrected first.
    public mutating func step(flow: Tensor, sample: Tensor) throws(TorchError) -> Tensor {
        let (given, m) = try converted(flow, sample)
        // A copy: the caller may change its sample before the corrector comes back to it.
        let x = if let last { try corrected(last, m) } else { try given.cloned() }
        let step = Step(x: x, m: m, earlier: index + 1 < steps.count ? last?.m : nil)
        let next = try predicted(step).to(sample.dtype)
        (last, index) = (step, index + 1)
        return next
    }

    /// The sample at the next level.
    private func predicted(_ step: Step) throws(TorchError) -> Tensor {
        let move = Move(steps, from: index)
        let next = try step.x * move.decay + step.m * move.gain
        guard let earlier = step.earlier else { return next }
        // The paper sets rho to 1/2 in a predictor of order 2.
        return try next + (earlier - step.m) * (move.gain * 0.5 / move.ratio)
    }

    /// The sample at this level again, now that the network has predicted `m` here.
    private func corrected(_ step: Step, _ m: Tensor) throws(TorchError) -> Tensor {
        let move = Move(steps, from: index - 1)
        let base = try step.x * move.decay + step.m * move.gain
        guard let earlier = step.earlier else { return try base + (m - step.m) * (move.gain * 0.5) }
        let (rho1, rho2) = move.correction
        let before = try (earlier - step.m) * (move.gain * rho1 / move.ratio)
        return try base + before + (m - step.m) * (move.gain * rho2)
    }
}

/// The numbers of a step from noise level s to t.
private struct Move {
    /// sigma_t / sigma_s.
    let decay: Double
    /// How far lambda goes; infinite to a level of 0.
    private let h: Double
    /// r of the level before s; it exists from the second step on.
    let ratio: Double

    /// alpha_t (1 - e^(-h)).
    var gain: Double { 1 - decay }

    init(_ steps: FlowSteps, from index: Int) {
        decay = Double(steps.sigmas[index + 1]) / Double(steps.sigmas[index])
        let lambda = steps.logSNR(index)
        h = steps.logSNR(index + 1) - lambda
        ratio = index > 0 ? (steps.logSNR(index - 1) - lambda) / h : .nan
    }

    /// rho of a corrector of order 2: rho1 + rho2 = b1, ratio rho1 + rho2 = b2.
    var correction: (rho1: Double, rho2: Double) {
        let b = expm1(-h)
        let phi1 = b / -h - 1
        let phi2 = phi1 / -h - 0.5
        let (b1, b2) = (phi1 / b, 2 * phi2 / b)
        let rho1 = (b2 - b1) / (ratio - 1)
        return (rho1, b1 - rho1)
    }
}
