package import SwanTraining

/// The options for training a transformer to restyle a stream.
///
/// A stream mixes noise into the *source* latents and takes the first step from there; later steps
/// start from its previous result with less noise. Both are trained, and distinguished by their
/// timesteps.
package struct StreamTrainingOptions: Codable, Sendable, Equatable {
    /// The fraction of noise in the input of the first step if there is no motion.
    package var noiseScale: Double
    /// How much a stream lowers the noise in fast motion.
    package var noiseSpread: Double
    /// The offset of a first timestep from 1000 times its noise; defaults to -100.
    package var timestepOffset: Int?
    /// The fraction of samples with full noise in every frame.
    package var fullNoise: Double
    /// The timesteps of later steps, drawn uniformly for each frame; repeat one to draw it more
    /// often.
    package var laterTimesteps: [Int]
    /// The fraction of later steps that start from the network's own result instead of the target.
    package var ownResults: Double
    /// The fraction of clips that do not start at a video's first frame.
    package var runningClips: Double
    /// The number of latent frames in a sample.
    package var latentFrames: Int
    /// The number of latent frames a frame attends to, including itself: the size of the stream's
    /// KV cache.
    package var window: Int
    /// The data type that the transformer and text encoder compute in; defaults to float32.
    package var precision: Precision?
    /// Whether to recompute activations in the backward pass instead of storing them, which saves
    /// memory and takes more time.
    package var gradientCheckpointing: Bool?

    /// `timestepOffset`, or the reference's value (StreamDiffusionV2, streamv2v/inference.py).
    var firstTimestepOffset: Int { timestepOffset ?? -100 }

    private enum CodingKeys: String, CodingKey {
        case noiseScale = "noise_scale", noiseSpread = "noise_spread", fullNoise = "full_noise"
        case timestepOffset = "timestep_offset"
        case laterTimesteps = "later_timesteps", ownResults = "own_results"
        case runningClips = "running_clips", latentFrames = "latent_frames", window, precision
        case gradientCheckpointing = "gradient_checkpointing"
    }
}

/// A phase of the transformer's training, with its image size.
package struct StreamPhase: Codable, Sendable, Equatable {
    /// The number of steps in this phase.
    package var steps: Int
    /// The height and width of its clips in pixels.
    package var size: Int
    /// Samples per step.
    package var batch: Int
    /// The number of encoded clips to draw samples from: the most recent ones.
    package var pool: Int
    /// The number of clips to encode before the first step.
    package var firstClips: Int
    /// The number of steps between newly encoded clips.
    package var stepsPerClip: Int

    private enum CodingKeys: String, CodingKey {
        case steps, size, batch, pool, firstClips = "first_clips", stepsPerClip = "steps_per_clip"
    }

    /// The total number of clips encoded in this phase.
    var clips: Int { clips(at: max(0, steps - 1)).upperBound }

    /// Returns the clips that step `step` of this phase draws from.
    ///
    /// The steps of a cycle share a range, so that a later step can draw the same samples as the
    /// previous step.
    func clips(at step: Int) -> Range<Int> {
        let cycle = StreamStepKind.cycle.count
        let end = firstClips + step / cycle * cycle / max(1, stepsPerClip)
        return max(0, end - pool)..<end
    }
}

/// The starting point of a step of the transformer's training.
enum StreamStepKind: Sendable {
    /// The source with noise, as in a stream's first denoising step.
    case first
    /// The result of the previous training step, as in a stream's later denoising steps.
    case later

    /// The repeating sequence of kinds; a phase starts with the first.
    static let cycle: [StreamStepKind] = [.first, .first, .later]

    /// Returns the kind of step `step` of a phase, counted from 0.
    init(step: Int) { self = Self.cycle[step % Self.cycle.count] }
}
