import Foundation
public import SwanSystem
public import Torch

/// UniPC: a multistep predictor and a corrector that needs no extra network evaluation.
///
/// UniPC, https://arxiv.org/abs/2302.04867, UniP-p and UniC-p for a network that predicts the clean
/// sample m, with B(h) = e^(-h) - 1 ("bh2") or -h ("bh1"), as Wan's `FlowUniPCMultistepScheduler`
/// and diffusers' `UniPCMultistepScheduler`. With alpha = 1 - sigma the paper's alpha_t (1 - e^(-h))
/// is 1 - sigma_t / sigma_s, here `gain`, so that neither end of the table is a special case:
///
///     x_t = sigma_t / sigma_s x_s + gain m_s - alpha_t B(h) sum_i rho_i D_i,
///     D_i = (m_i - m_s) / r_i
///
/// where r_i = (lambda_i - lambda_s) / h. The predictor uses levels before s, the corrector also t.
/// The first step and, usually, the last one are of order 1.
public struct FlowUniPC: FlowSolver {
    /// The noise levels and timesteps of the steps.
    public let steps: FlowSteps
    /// The number of completed steps.
    public private(set) var index = 0
    private let settings: FlowSolverSettings
    /// The previous step, for the corrector.
    private var last: Step?

    /// The data of a step that the corrector needs.
    private struct Step: Sendable {
        /// The corrected sample at the beginning of the step.
        let x: Tensor
        /// The clean sample predicted from it.
        let m: Tensor
        /// The clean samples predicted in the previous steps, the newest first.
        let earlier: [Tensor]
        /// How many of `earlier` the step uses: its order less 1.
        let used: Int
    }

    /// Creates a solver before its first step.
    public init(_ steps: FlowSteps, _ settings: FlowSolverSettings = FlowSolverSettings()) {
        (self.steps, self.settings) = (steps, settings)
    }

    /// The sample at the next noise level; corrects this one first.
    public mutating func step(flow: Tensor, sample: Tensor) throws(SwanError) -> Tensor {
        let (given, m) = try converted(flow, sample)
        // Copy it: the caller may change its sample before the corrector uses it.
        let x =
            if let last, !settings.uncorrectedSteps.contains(index - 1) {
                try corrected(last, m)
            } else {
                try given.cloned()
            }
        let earlier = last.map { [$0.m] + $0.earlier.prefix(settings.order - 1) } ?? []
        let most =
            settings.lowersFinalOrder
            ? min(settings.order, steps.count - index) : settings.order
        let step = Step(x: x, m: m, earlier: earlier, used: min(most - 1, earlier.count))
        let next = try predicted(step).to(sample.dtype)
        (last, index) = (step, index + 1)
        return next
    }

    /// The sample at the next level.
    private func predicted(_ step: Step) throws(SwanError) -> Tensor {
        let move = Move(steps, from: index, order: step.used + 1, settings.form)
        var next = try step.x * move.decay + step.m * move.gain
        // Without a change of the level nothing follows from earlier predictions.
        guard move.h != 0 else { return next }
        for (weight, earlier) in zip(move.predictor, step.earlier) {
            next = try next + (earlier - step.m) * weight
        }
        return next
    }

    /// The corrected sample at this level, given the network's prediction `m`.
    private func corrected(_ step: Step, _ m: Tensor) throws(SwanError) -> Tensor {
        let move = Move(steps, from: index - 1, order: step.used + 1, settings.form)
        var next = try step.x * move.decay + step.m * move.gain
        let weights = move.corrector
        for (weight, earlier) in zip(weights.earlier, step.earlier) {
            next = try next + (earlier - step.m) * weight
        }
        return try next + (m - step.m) * weights.new
    }
}

/// The coefficients of a step from noise level s to t.
private struct Move {
    /// sigma_t / sigma_s.
    let decay: Double
    /// The change in lambda; infinite for a step to noise level 0.
    let h: Double
    /// r of the levels before s, the newest first: one less than the order.
    private let ratios: [Double]
    /// -alpha_t B(h).
    private let scale: Double
    private let form: FlowSolverSettings.Form

    /// alpha_t (1 - e^(-h)).
    var gain: Double { 1 - decay }

    init(_ steps: FlowSteps, from index: Int, order: Int, _ form: FlowSolverSettings.Form) {
        decay = Double(steps.sigmas[index + 1]) / Double(steps.sigmas[index])
        let lambda = steps.logSNR(index)
        let h = steps.logSNR(index + 1) - lambda
        ratios = (1..<order).map { (steps.logSNR(index - $0) - lambda) / h }
        scale = form == .bh1 ? (1 - Double(steps.sigmas[index + 1])) * h : 1 - decay
        (self.h, self.form) = (h, form)
    }

    /// The weights of m_i - m_s in the predictor.
    var predictor: [Double] {
        // The paper sets rho to 1/2 for a predictor of order 2.
        let rhos =
            ratios.count < 2 ? ratios.map { _ in 0.5 } : solution(ratios, moments(ratios.count))
        return zip(rhos, ratios).map { scale * $0 / $1 }
    }

    /// The weights of m_i - m_s in the corrector, and that of the new prediction.
    var corrector: (earlier: [Double], new: Double) {
        switch ratios.count {
        // The paper sets rho to 1/2 for a corrector of order 1.
        case 0: return ([], scale * 0.5)
        case 1:
            // Solved by hand, so that the limit of an infinite ratio is exact.
            let b = moments(2)
            let rho = (b[1] - b[0]) / (ratios[0] - 1)
            return ([scale * rho / ratios[0]], scale * (b[0] - rho))
        default:
            let rhos = solution(ratios + [1], moments(ratios.count + 1))
            return (zip(rhos, ratios).map { scale * $0 / $1 }, scale * rhos[ratios.count])
        }
    }

    /// b of the conditions sum_i r_i^(k-1) rho_i = b_k: b_k = k! h phi_(k+1)(h) / B(h).
    private func moments(_ count: Int) -> [Double] {
        let base = form == .bh1 ? -h : expm1(-h)
        var (phi, factorial) = (expm1(-h) / -h - 1, 1.0)
        return (1...count).map { k in
            defer {
                factorial *= Double(k + 1)
                phi = phi / -h - 1 / factorial
            }
            return phi * factorial / base
        }
    }

    /// rho of the conditions sum_i r_i^k rho_i = b_k, k from 0, by elimination with pivots.
    private func solution(_ nodes: [Double], _ b: [Double]) -> [Double] {
        let count = nodes.count
        var rows = (0..<count).map { k in nodes.map { pow($0, Double(k)) } + [b[k]] }
        for column in 0..<count {
            let rest = column..<count
            let pivot = rest.max { abs(rows[$0][column]) < abs(rows[$1][column]) } ?? column
            rows.swapAt(column, pivot)
            for row in 0..<count where row != column {
                let factor = rows[row][column] / rows[column][column]
                for entry in column...count { rows[row][entry] -= factor * rows[column][entry] }
            }
        }
        return (0..<count).map { rows[$0][count] / rows[$0][$0] }
    }
}
