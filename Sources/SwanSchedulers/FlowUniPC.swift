import Foundation
public import SwanSystem
public import Torch

/// UniPC of order 2: a multistep predictor and a corrector that needs no extra network evaluation.
///
/// UniPC, https://arxiv.org/abs/2302.04867, UniP-p and UniC-p for a network that predicts the clean
/// sample m, with B(h) = e^(-h) - 1 ("bh2"), as Wan's `FlowUniPCMultistepScheduler` and diffusers'
/// `UniPCMultistepScheduler`. With alpha = 1 - sigma the paper's alpha_t (1 - e^(-h)) is
/// 1 - sigma_t / sigma_s, here `gain`, so that neither end of the table is a special case:
///
///     x_t = sigma_t / sigma_s x_s + gain (m_s + sum_i rho_i D_i),  D_i = (m_i - m_s) / r_i
///
/// where r_i = (lambda_i - lambda_s) / h. The predictor uses levels before s, the corrector also t.
/// The first and the last step are of order 1.
public struct FlowUniPC: FlowSolver {
    /// The noise levels and timesteps of the steps.
    public let steps: FlowSteps
    /// The number of completed steps.
    public private(set) var index = 0
    /// The previous step, for the corrector.
    private var last: Step?

    /// The data of a step that the corrector needs.
    private struct Step: Sendable {
        /// The corrected sample at the beginning of the step.
        let x: Tensor
        /// The clean sample predicted from it.
        let m: Tensor
        /// The clean sample predicted in the previous step; nil if the step was of order 1.
        let earlier: Tensor?
    }

    /// Creates a solver before its first step.
    public init(_ steps: FlowSteps) { self.steps = steps }

    /// The sample at the next noise level; corrects this one first.
    public mutating func step(flow: Tensor, sample: Tensor) throws(SwanError) -> Tensor {
        let (given, m) = try converted(flow, sample)
        // Copy it: the caller may change its sample before the corrector uses it.
        let x = if let last { try corrected(last, m) } else { try given.cloned() }
        let step = Step(x: x, m: m, earlier: index + 1 < steps.count ? last?.m : nil)
        let next = try predicted(step).to(sample.dtype)
        (last, index) = (step, index + 1)
        return next
    }

    /// The sample at the next level.
    private func predicted(_ step: Step) throws(SwanError) -> Tensor {
        let move = Move(steps, from: index)
        let next = try step.x * move.decay + step.m * move.gain
        guard let earlier = step.earlier else { return next }
        // The paper sets rho to 1/2 for a predictor of order 2.
        return try next + (earlier - step.m) * (move.gain * 0.5 / move.ratio)
    }

    /// The corrected sample at this level, given the network's prediction `m`.
    private func corrected(_ step: Step, _ m: Tensor) throws(SwanError) -> Tensor {
        let move = Move(steps, from: index - 1)
        let base = try step.x * move.decay + step.m * move.gain
        guard let earlier = step.earlier else { return try base + (m - step.m) * (move.gain * 0.5) }
        let (rho1, rho2) = move.correction
        let before = try (earlier - step.m) * (move.gain * rho1 / move.ratio)
        return try base + before + (m - step.m) * (move.gain * rho2)
    }
}

/// The coefficients of a step from noise level s to t.
private struct Move {
    /// sigma_t / sigma_s.
    let decay: Double
    /// The change in lambda; infinite for a step to noise level 0.
    private let h: Double
    /// r of the level before s; defined from the second step on.
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
