package import SwanModels
package import SwanTraining

/// A training run of a small text-to-video model on drawn scenes, with another model's autoencoder.
///
/// The model is the teacher of distillation: bidirectional, from pure noise, with guidance. Its
/// text encoder is trained first, alone; then it is frozen like Wan's.
package struct TextToVideoRecipe: RecipeText, Sendable {
    /// The name of the model.
    package var name: String
    /// The seed of all random numbers.
    package var seed: UInt64
    /// The license of the weights.
    package var license: String
    /// The number of CPU threads.
    package var threads: Int
    /// A bundled model or a folder whose autoencoder is used.
    package var autoencoder: String
    /// The size of the videos.
    package var video: Video
    /// The text encoder.
    package var text: TextStage
    /// The transformer.
    package var transformer: TransformerStage
    /// How held-out prompts are tried, and how many.
    package var evaluation: Evaluation
    /// When checkpoints are written.
    package var checkpoints: CheckpointSchedule

    /// The size of the videos.
    package struct Video: Codable, Sendable, Equatable {
        /// The height and width in pixels.
        package var size: Int
        /// The number of latent frames.
        package var latentFrames: Int
        /// The frame rate of the files.
        package var fps: Int
        /// The number of clips to train on, whose latents are computed ahead.
        package var clips: Int

        private enum CodingKeys: String, CodingKey {
            case size, latentFrames = "latent_frames", fps, clips
        }
    }

    /// The text encoder and its tokenizer.
    package struct TextStage: Codable, Sendable, Equatable {
        /// The sizes. The vocabulary's is the maximum for the tokenizer.
        package var model: UMT5Config
        /// The number of prompts to train the tokenizer on.
        package var sentences: Int
        /// The number of steps.
        package var steps: Int
        /// Prompts per step.
        package var batch: Int
        /// The optimizer and its learning rate schedule.
        package var optimizer: OptimizerOptions
    }

    /// The transformer and its training by flow matching.
    package struct TransformerStage: Codable, Sendable, Equatable {
        /// The sizes.
        package var model: WanConfig
        /// The shift of the noise levels (SD3, https://arxiv.org/abs/2403.03206, equation 23).
        package var shift: Double
        /// The share of samples without a prompt, for guidance.
        package var promptDropout: Double
        /// The data type of the computation, float32 by default.
        package var precision: Precision?
        /// The number of steps.
        package var steps: Int
        /// Clips per micro-batch.
        package var batch: Int
        /// The optimizer and its learning rate schedule.
        package var optimizer: OptimizerOptions

        private enum CodingKeys: String, CodingKey {
            case model, shift, promptDropout = "prompt_dropout", precision, steps, batch, optimizer
        }
    }

    /// How held-out prompts are tried.
    package struct Evaluation: Codable, Sendable, Equatable {
        /// The number of steps between evaluations; there is one at the end, too.
        package var everySteps: Int
        /// The number of prompts, 0 for no evaluation.
        package var prompts: Int
        /// The denoising steps of a video in training, and of the finished model.
        package var steps, finalSteps: Int
        /// The guidance scale, also of the finished model.
        package var guidance: Double

        private enum CodingKeys: String, CodingKey {
            case everySteps = "every_steps", prompts, steps, finalSteps = "final_steps", guidance
        }
    }

    /// Reads a recipe from a file; a missing, unknown or mistyped key is an error that names it.
    package init(contentsOf path: String) throws { self = try Self.read(path) }

    /// Parses a recipe.
    package init(yaml text: String) throws { self = try Self.parsed(text) }

    static let changeable: Set = ["checkpoints", "evaluation", "threads"]

    /// The number of frames of a clip.
    package var frames: Int { (video.latentFrames - 1) * 4 + 1 }
}
