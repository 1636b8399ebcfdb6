package import SwanSchedulers
package import SwanSystem

/// The noise levels of a distillation: the generator's list of steps, and the timesteps at which
/// scores are compared.
///
/// CausVid, https://arxiv.org/abs/2412.07772; the table is `FlowMatch.Options.streaming`.
package struct DistillationSchedule: Sendable {
    /// The number of training timesteps, which every recipe has.
    package static let trainingTimesteps = 1_000
    /// The limits of a score's timestep: 2 % and 98 % of the training timesteps.
    package static let scoreLimits = 20.0...980.0

    /// The table of noise levels.
    package let flow: FlowMatch
    /// The generator's timesteps, in decreasing order. A final 0 is a step too: clean frames, which
    /// are context for others.
    package let steps: [Double]
    private let scoreShift: Float

    /// Creates a schedule.
    ///
    /// - Parameters:
    ///   - list: Timesteps, or places in the table counted from its end if `warped`.
    ///   - shift: The shift of the table.
    ///   - scoreShift: The shift of the scores' timesteps; at most 1 for none.
    package init(
        list: [Int],
        warped: Bool,
        shift: Double,
        scoreShift: Double
    ) throws(SwanError) {
        guard !list.isEmpty, zip(list, list.dropFirst()).allSatisfy(>),
            list.allSatisfy({ 0...Self.trainingTimesteps ~= $0 }), list[0] > 0
        else {
            throw SwanError(
                .invalidRecipe,
                "denoising_step_list \(list) must decrease within 1000 to 0, such as "
                    + "[1000, 757, 522, 0]"
            )
        }
        flow = try FlowMatch(.streaming(shift: shift))
        steps = warped ? try flow.warped(list) : list.map(Double.init)
        self.scoreShift = Float(scoreShift)
    }

    /// The timestep of a score for a number drawn from 0 to 999, in float32 as in the reference.
    package func scoreTimestep(_ drawn: Int) -> Double {
        var timestep = Float(drawn)
        if scoreShift > 1 {
            let level = timestep / 1_000
            timestep = scoreShift * level / (1 + (scoreShift - 1) * level) * 1_000
        }
        return min(max(Double(timestep), Self.scoreLimits.lowerBound), Self.scoreLimits.upperBound)
    }

    /// The place of a timestep in the table, counted from its end: about 1000 times the noise level
    /// before the shift.
    package func place(of timestep: Double) -> Int {
        guard timestep > 0 else { return 0 }
        let table = flow.timesteps
        let nearest = table.indices.min {
            abs(Double(table[$0]) - timestep) < abs(Double(table[$1]) - timestep)
        }
        return table.count - (nearest ?? 0)
    }
}
