import Foundation
package import SwanCheckpoints
package import SwanModels
package import SwanTraining
import Torch

/// The complete configuration of a training run: the same recipe and footage produce the same
/// model.
package struct Recipe: Codable, Sendable, Equatable {
    /// The name of the model.
    package var name: String
    /// The seed of all random numbers.
    package var seed: UInt64
    /// The license of the weights.
    package var license: String
    /// A model to continue from: the name of a bundled model, or a folder. Its autoencoder and
    /// tokenizer are used unchanged. Nil to train from scratch.
    package var start: String?
    /// The number of CPU threads, each of which computes a micro-batch. If there are fewer
    /// micro-batches, operators use several threads, which affects the last bits of sums.
    package var threads: Int
    /// The training data; paths are relative to the data root.
    package var data: DataConfig
    /// The styles to learn, including `none` for prompts that ask for no change.
    package var styles: [Style]
    /// The autoencoder.
    package var vae: VAEStage
    /// The tokenizer and the text encoder.
    package var text: TextStage
    /// The transformer, trained together with the text encoder.
    package var transformer: TransformerStage
    /// When checkpoints are written.
    package var checkpoints: CheckpointSchedule
    /// How the processes share the work, if several were started; by default, they compute different
    /// micro-batches.
    package var parallel: ParallelOptions?
    /// Sample sheets of the networks in training; by default, 3 clips every 200 steps.
    package var samples: SampleOptions?
    /// The stream configuration of the model, written to `stream.yaml` in its folder.
    package var stream: StreamConfiguration

    /// The autoencoder's dimensions and training.
    package struct VAEStage: Codable, Sendable, Equatable {
        /// The dimensions; the means and standard deviations of latents are measured.
        package var model: WanVAEConfig
        /// The training options.
        package var training: VAEOptions
        /// The optimizer and its learning rate schedule.
        package var optimizer: OptimizerOptions
    }

    /// The text encoder's dimensions and its tokenizer.
    package struct TextStage: Codable, Sendable, Equatable {
        /// The dimensions. The vocabulary size is the maximum for the tokenizer.
        package var model: UMT5Config
        /// The number of prompts to train the tokenizer on.
        package var sentences: Int
        /// The number of steps in which the encoder learns to recognize styles, before the
        /// transformer is trained.
        package var steps: Int
        /// Prompts per step.
        package var batch: Int
        /// The peak learning rate; defaults to the transformer's.
        package var learningRate: Double?

        private enum CodingKeys: String, CodingKey {
            case model, sentences, steps, batch, learningRate = "learning_rate"
        }
    }

    /// The transformer's dimensions and training.
    package struct TransformerStage: Codable, Sendable, Equatable {
        /// The dimensions.
        package var model: WanConfig
        /// The training options.
        package var training: StreamTrainingOptions
        /// The phases of training, in order.
        package var phases: [StreamPhase]
        /// The optimizer and its learning rate schedule.
        package var optimizer: OptimizerOptions
    }
}

extension Recipe {
    /// `samples`, or the default options.
    var sampling: SampleOptions { samples ?? SampleOptions() }

    /// Whether any stage recomputes activations in the backward pass instead of storing them.
    package var checkpointsGradients: Bool {
        vae.training.gradientCheckpointing ?? false
            || transformer.training.gradientCheckpointing ?? false
    }

    /// Whether any stage computes in bfloat16.
    package var usesBFloat16: Bool {
        [vae.training.precision, transformer.training.precision].contains(.bfloat16)
    }
}
