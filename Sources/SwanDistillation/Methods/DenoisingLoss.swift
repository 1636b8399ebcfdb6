package import SwanSystem
package import Torch

/// The loss by which the critic learns to denoise what the generator makes: the mean over all
/// elements, in float32.
package enum DenoisingLoss: String, Sendable, CaseIterable {
    /// (v_K - (noise - x))²: the network's own flow.
    case flow
    /// (x - k)².
    case x0
    /// (x - k)² / (1 - a_t): the error of v-prediction; needs a diffusion schedule.
    case v
    /// (noise - noise_K)²; needs a diffusion schedule.
    case noise

    /// Whether flow matching, which has no cumulative product of alphas, has this loss.
    package var fitsFlowMatching: Bool { self == .flow || self == .x0 }

    /// What is compared. Tensors have the same shape, with the rows of a batch or its frames first.
    package struct Sample {
        /// The clean sample that noise was added to, and the noise.
        package let clean, noise: Tensor
        /// The predictions that a loss needs.
        package var predictedClean, predictedFlow, predictedNoise: Tensor?
        /// Cumulative products of a diffusion schedule's alphas at the sample's timesteps, in a
        /// shape that broadcasts.
        package var alphas: Tensor?

        /// Creates a sample; its predictions are set as properties.
        package init(clean: Tensor, noise: Tensor) {
            self.clean = clean
            self.noise = noise
        }
    }

    /// Computes the loss.
    package func callAsFunction(_ sample: Sample) throws(SwanError) -> Tensor {
        switch self {
        case .flow:
            let error = try need(sample.predictedFlow) - (sample.noise - sample.clean)
            return try error.pow(2).mean()
        case .x0:
            return try (sample.clean - need(sample.predictedClean)).pow(2).mean()
        case .v:
            let error = try (sample.clean - need(sample.predictedClean)).pow(2)
            return try (error / (1 - need(sample.alphas))).mean()
        case .noise:
            return try (sample.noise - need(sample.predictedNoise)).pow(2).mean()
        }
    }

    /// The loss `noise` as CausVid computes it for pictures [B, C, H, W]: every noise against every
    /// prediction of the batch, because their shapes [B, ...] and [B, 1, ...] broadcast.
    package static func publishedNoise(_ sample: Sample) throws(SwanError) -> Tensor {
        guard let predicted = sample.predictedNoise else { throw missing("noise") }
        return try (sample.noise - predicted.unsqueezed(1)).pow(2).mean()
    }

    private func need(_ tensor: Tensor?) throws(SwanError) -> Tensor {
        guard let tensor else { throw Self.missing(rawValue) }
        return tensor
    }

    private static func missing(_ loss: String) -> SwanError {
        SwanError(
            .invalidRecipe,
            "denoising_loss_type: \(loss) needs a prediction or a schedule that the network does "
                + "not have; Wan models have flow and x0"
        )
    }
}
