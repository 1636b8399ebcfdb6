import Foundation
package import SwanCheckpoints
package import SwanTraining

/// The settings of a fine-tuning: the keys of its YAML file.
package struct FineTuningSettings: Sendable, Equatable {
    /// What is trained.
    package enum Kind: String, Codable, Sendable, CaseIterable {
        /// Low-rank additions to matrices.
        case lora
        /// All weights.
        case full
    }

    /// Which transformers of a model with two are trained.
    package enum Expert: String, Codable, Sendable, CaseIterable {
        case high, low, both
    }

    /// The dtype that the weights below a LoRA are kept in.
    package enum BaseType: String, Codable, Sendable, CaseIterable {
        /// That of their files, which stay mapped on a CPU.
        case stored
        case float32, bfloat16
    }

    /// Videos or latents, and how often an epoch has each.
    package struct Source: Decodable, Sendable, Equatable {
        /// A folder or a JSON file of captioned videos, or a database or a .safetensors file of
        /// latents.
        package var path: String
        package var repeats = 1
    }

    /// The size of a bucket.
    package struct Bucket: Sendable, Hashable, CustomStringConvertible {
        package let width, height, frames: Int

        package var description: String { "\(width)x\(height)x\(frames)" }
    }

    package var kind = Kind.lora
    package var model = ""
    package var expert = Expert.both
    /// The noise level that divides the experts; nil for the model's.
    package var boundary: Double?
    package var name: String?

    package var rank = 16
    package var alpha: Double?
    package var targets = LoRALayers.usualTargets
    package var format = LoRAFormat.comfyUI

    package var data: [Source] = []
    package var buckets: [Bucket] = []
    package var cache: String?
    package var heldOut = 0
    package var promptDropout = 0.1
    /// The share of samples whose first frame stays clean, for models that take one.
    package var cleanFirstFrame = 0.5

    package var sampling = TimestepSampling()
    package var shift: Double?
    package var weighting = LossWeighting.none
    /// A causal model's blocks of latent frames; nil for those of its stream.
    package var framesPerBlock: Int?
    /// The latent frames that a causal model sees; nil for all of the past.
    package var window: Int?

    package var precision = Precision.float32
    package var base = BaseType.stored
    package var checkpointsGradients = false
    package var batch = 1
    package var accumulation = 1
    package var rate = 1e-4
    package var warmUp = 0
    package var decayFrom = 1.0
    package var betas = [0.9, 0.999]
    package var weightDecay = 0.01
    package var maximumNorm = 1.0
    package var averageDecay = 0.0
    package var steps = 1_000
    package var seed: UInt64 = 0
    package var saveEvery = 250
    package var kept = 2

    package var previews = Previews()

    /// Videos that show how training goes.
    package struct Previews: Sendable, Equatable {
        /// A file of prompts; nil for no videos.
        package var prompts: String?
        package var every = 250
        package var size: Bucket?
        package var steps: Int?
        package var seed: UInt64 = 0
        /// The picture that a video begins with, or the video that a stream restyles.
        package var input: String?
    }

    /// Creates settings without a model or data, to be filled.
    package init() {}

    /// alpha, which is the rank if it is not given.
    package var usedAlpha: Double { alpha ?? Double(rank) }

    /// The optimizer of each transformer.
    ///
    /// - Parameter ranks: The number of processes, each of which computes micro-batches.
    package func optimizer(ranks: Int) -> OptimizerOptions {
        OptimizerOptions(
            learningRate: rate,
            warmUpSteps: warmUp,
            decayFrom: decayFrom,
            finalRate: 0,
            betas: betas,
            weightDecay: weightDecay,
            maximumGradientNorm: maximumNorm,
            averageDecay: averageDecay,
            microBatches: accumulation * ranks
        )
    }
}
