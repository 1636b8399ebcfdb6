import Foundation
public import SwanCheckpoints
public import SwanModels
public import SwanTraining
import Torch

/// Everything a training run depends on: the same recipe on the same footage gives the same model.
public struct Recipe: Codable, Sendable, Equatable {
    /// The model's name.
    public var name: String
    /// What all random numbers come from.
    public var seed: UInt64
    /// The licence that the weights are given.
    public var license: String
    /// A model to go on from: a bundled one's name, or a folder. Its autoencoder and its tokenizer stay
    /// as they are. Nil to begin with nothing.
    public var start: String?
    /// Threads on the CPU: micro-batches that are worked on at a time. Where there are fewer of them,
    /// operators have several threads, on which the last bits of sums depend.
    public var threads: Int
    /// The footage; files are sought below the data root.
    public var data: DataConfig
    /// The looks to learn, among them `none` for prompts that ask for no change.
    public var styles: [Style]
    /// The autoencoder.
    public var vae: VAEStage
    /// The tokenizer and the text encoder.
    public var text: TextStage
    /// The transformer, trained together with the text encoder.
    public var transformer: TransformerStage
    /// When checkpoints are written.
    public var checkpoints: CheckpointSchedule
    /// Pictures of what the networks do so far; 3 clips every 200 steps if not given.
    public var samples: SampleOptions?
    /// What a stream has to know of the model; becomes `stream.yaml` in the model's folder.
    public var stream: StreamConfiguration

    /// The autoencoder's sizes and training.
    public struct VAEStage: Codable, Sendable, Equatable {
        /// Its sizes; means and deviations of latents are measured.
        public var model: WanVAEConfig
        /// What a step is.
        public var training: VAEOptions
        /// How weights change.
        public var optimizer: OptimizerOptions
    }

    /// The text encoder's sizes and its tokenizer.
    public struct TextStage: Codable, Sendable, Equatable {
        /// Its sizes; the vocabulary is the largest that the tokenizer may have.
        public var model: UMT5Config
        /// Prompts that the tokenizer is trained on.
        public var sentences: Int
        /// Steps in which the encoder learns which style a prompt asks for, before the transformer.
        public var steps: Int
        /// Prompts of such a step.
        public var batch: Int
        /// The largest step of these weights; the transformer's if it is not given.
        public var learningRate: Double?

        private enum CodingKeys: String, CodingKey {
            case model, sentences, steps, batch, learningRate = "learning_rate"
        }
    }

    /// The transformer's sizes and training.
    public struct TransformerStage: Codable, Sendable, Equatable {
        /// Its sizes.
        public var model: WanConfig
        /// What a step is.
        public var training: StreamTrainingOptions
        /// Picture sizes, one after the other.
        public var phases: [StreamPhase]
        /// How weights change.
        public var optimizer: OptimizerOptions
    }
}

extension Recipe {
    /// `samples`, or what is usual.
    var sampling: SampleOptions { samples ?? SampleOptions() }

    /// Whether a stage computes layers again for gradients instead of keeping them.
    public var checkpointsGradients: Bool {
        vae.training.gradientCheckpointing ?? false
            || transformer.training.gradientCheckpointing ?? false
    }

    /// Whether a stage computes in bfloat16.
    public var usesBFloat16: Bool {
        [vae.training.precision, transformer.training.precision].contains(.bfloat16)
    }
}
