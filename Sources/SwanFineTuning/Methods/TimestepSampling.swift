import Foundation
package import SwanTraining

/// How the noise levels of training are drawn.
///
/// Stable Diffusion 3, https://arxiv.org/abs/2403.03206, section 3.1.
package struct TimestepSampling: Sendable, Equatable {
    /// A distribution of u in (0, 1).
    package enum Distribution: String, Codable, Sendable, CaseIterable {
        case uniform
        /// The sigmoid of a normal number with a mean and a standard deviation.
        case logitNormal = "logit_normal"
        /// Heavier in the middle (or at the ends, for a negative scale): equation 20.
        case mode
    }

    package var distribution = Distribution.uniform
    package var mean = 0.0
    package var deviation = 1.0
    package var scale = 1.29
    /// The shift toward more noise, sigma = s u / (1 + (s - 1) u); 1 for none.
    package var shift = 1.0
    /// The noise levels that are drawn; others are drawn again.
    package var range = 0.0...1.0

    /// Creates uniform sampling.
    package init() {}

    /// Draws a noise level sigma; the timestep is 1000 sigma.
    package func sigma(_ random: inout SampleRandom) -> Double {
        // A range that is hardly ever met gets uniform draws instead of endless ones.
        for _ in 0..<1_000 {
            let sigma = shifted(point(&random))
            if range.contains(sigma) { return sigma }
        }
        return random.uniform(range.lowerBound, range.upperBound)
    }

    /// The levels at equal steps of the distribution's u, shifted and kept within the range.
    package func spread(_ count: Int) -> [Double] {
        (0..<count).map { index in
            let sigma = shifted((Double(index) + 0.5) / Double(count))
            return range.lowerBound + (range.upperBound - range.lowerBound) * sigma
        }
    }

    private func shifted(_ u: Double) -> Double { shift * u / (1 + (shift - 1) * u) }

    private func point(_ random: inout SampleRandom) -> Double {
        switch distribution {
        case .uniform: return random.uniform()
        case .logitNormal: return 1 / (1 + exp(-(mean + random.normal(deviation))))
        case .mode:
            let u = random.uniform()
            let cosine = cos(.pi / 2 * u)
            return 1 - u - scale * (cosine * cosine - 1 + u)
        }
    }
}

/// What a loss is multiplied by at a timestep.
package enum LossWeighting: String, Codable, Sendable, CaseIterable {
    case none
    /// Most in the middle: `FlowMatch.trainingWeights`.
    case bell
}
