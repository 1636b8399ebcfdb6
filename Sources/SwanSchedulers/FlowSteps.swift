import Foundation
public import SwanSystem

/// The noise levels and timesteps of a solver.
///
/// Levels are spaced evenly and then shifted toward more noise (Stable Diffusion 3,
/// https://arxiv.org/abs/2403.03206, equation 23). Implementations differ in their first and last
/// levels and in whether timesteps are integers, so each has a `Spacing`. As in the references,
/// tables are computed in float64 and rounded once.
public struct FlowSteps: Sendable, Equatable {
    /// The decreasing noise levels at the beginning of each step, and the one after the last: 0,
    /// unless `FlowLevelSettings` say otherwise.
    public let sigmas: [Float]
    /// The network's timestep input at the beginning of each step, up to 1000.
    public let timesteps: [Float]

    /// The number of steps.
    public var count: Int { timesteps.count }

    /// How noise levels are spaced before the shift, named after the reference implementation.
    public enum Spacing: String, Sendable, CaseIterable {
        /// From 1 to 0, integer timesteps: Wan's `get_sampling_sigmas`, used with DPM++.
        case wan
        /// From 0.999 in float32 to 0, integer timesteps: Wan with UniPC.
        case wanUniPC
        /// From 1 (less a millionth) to 0.001, then 0; integer timesteps: diffusers with UniPC.
        case diffusersUniPC
        /// From 0.999 to 0, integer timesteps: diffusers with DPM++.
        case diffusersDPM
        /// From 1 to 0.001 shifted twice, then 0; fractional timesteps: diffusers with Euler.
        case diffusersEuler
    }

    /// The number of training timesteps, which corresponds to a noise level of 1.
    static let trainingTimesteps = 1_000

    /// Creates 1 to 1000 steps; a shift above 1 spends more of them at high noise.
    ///
    /// - Parameter settings: How diffusers' tables deviate; Wan's do not.
    public init(
        _ count: Int,
        shift: Double,
        spacing: Spacing,
        _ settings: FlowLevelSettings = FlowLevelSettings()
    ) throws(SwanError) {
        guard 1...Self.trainingTimesteps ~= count else {
            throw SwanError(
                .invalidOption,
                "\(count) steps are not in 1 to \(Self.trainingTimesteps)"
            )
        }
        guard shift.isFinite, shift > 0 else {
            throw SwanError(
                .invalidOption,
                "invalid shift \(shift): must be above 0; 1 disables it"
            )
        }
        let levels = spacing.levels(count, shift, settings)
        let timesteps = levels.map { level in
            spacing == .diffusersEuler
                ? Float(level) * Float(Self.trainingTimesteps)
                : Float((level * Double(Self.trainingTimesteps)).rounded(.towardZero))
        }
        var sigmas = levels.map(Float.init)
        let end = spacing.isOfWan ? .zero : settings.end
        let beyond: Float =
            switch end {
            case .zero, .last: 0
            case .level(let level): Float(level)
            }
        guard sigmas[0] <= 1, zip(sigmas, sigmas.dropFirst() + [beyond]).allSatisfy(>) else {
            throw SwanError(
                .invalidOption,
                "\(count) steps with a shift of \(shift): noise levels coincide in float32 or do not "
                    + "decrease from at most 1; use fewer steps or a shift closer to 1"
            )
        }
        sigmas.append(end == .last ? sigmas[count - 1] : beyond)
        (self.sigmas, self.timesteps) = (sigmas, timesteps)
    }

    /// Creates steps from custom noise levels, decreasing from at most 1, without the final 0.
    ///
    /// Timesteps default to the levels times 1000.
    public init(sigmas: [Float], timesteps: [Float]? = nil) throws(SwanError) {
        let all = sigmas + [0]
        guard let first = sigmas.first, first <= 1, zip(all, all.dropFirst()).allSatisfy(>) else {
            throw SwanError(
                .invalidOption,
                "noise levels \(sigmas) must decrease from at most 1 and stay above 0, such as "
                    + "[1, 0.75, 0.5, 0.25]"
            )
        }
        let timesteps = timesteps ?? sigmas.map { $0 * Float(Self.trainingTimesteps) }
        guard timesteps.count == sigmas.count else {
            throw SwanError(
                .invalidOption,
                "\(timesteps.count) timesteps do not match \(sigmas.count) noise levels"
            )
        }
        (self.sigmas, self.timesteps) = (all, timesteps)
    }

    /// lambda = log(alpha / sigma) of a level, alpha = 1 - sigma; infinite at 1 and 0.
    func logSNR(_ index: Int) -> Double {
        let sigma = Double(sigmas[index])
        return Foundation.log(1 - sigma) - Foundation.log(sigma)
    }
}

// MARK: - Tables

extension FlowSteps.Spacing {
    /// Whether the table is that of Wan's own code.
    fileprivate var isOfWan: Bool { self == .wan || self == .wanUniPC }

    /// The shifted noise levels at the beginning of each step.
    fileprivate func levels(
        _ count: Int,
        _ shift: Double,
        _ settings: FlowLevelSettings
    ) -> [Double] {
        let last = 1 / Double(FlowSteps.trainingTimesteps)
        let shifted = { (level: Double) in shift * level / (1 + (shift - 1) * level) }
        switch self {
        case .wan:
            return evenLine(1, 0, count + 1).dropLast().map(shifted)
        case .wanUniPC:
            return evenLine(Double(Float(1 - last)), 0, count + 1).dropLast().map(shifted)
        case .diffusersUniPC:
            guard settings.spread == .even else {
                // Of a sample x0 + sigma noise; a flow has (1 - sigma) x0 + sigma noise.
                return settings.spreadLevels(count, from: 1, to: last).map { $0 / ($0 + 1) }
            }
            let even = evenLine(1, last, count + 1).dropLast().map(shifted)
            var levels = settings.stretched(even)
            // Avoid 1, where the logarithm of alpha is infinite.
            if abs(levels[0] - 1) < 1e-6 { levels[0] -= 1e-6 }
            return levels
        case .diffusersDPM:
            return evenLine(1, last, count + 1).dropFirst().reversed().map { shifted(1 - $0) }
        case .diffusersEuler:
            let levels = settings.stretched(eulerLevels(count, shift, shifted))
            guard settings.spread != .even, let first = levels.first, let end = levels.last else {
                return levels
            }
            return settings.spreadLevels(count, from: first, to: end)
        }
    }

    /// Levels between two ends that are shifted, which are then shifted as well.
    private func eulerLevels(
        _ count: Int,
        _ shift: Double,
        _ shifted: (Double) -> Double
    ) -> [Double] {
        let training = Double(FlowSteps.trainingTimesteps)
        let ends = [1, Float(1 / training)].map { level in
            let shifted = Float(shift) * level / (1 + Float(shift - 1) * level)
            // Rounding must not exceed pure noise.
            return Double(min(shifted, 1)) * training
        }
        return evenLine(ends[0], ends[1], count).map { shifted($0 / training) }
    }
}
