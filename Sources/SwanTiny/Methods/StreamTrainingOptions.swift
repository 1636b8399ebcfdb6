public import SwanTraining

/// How a transformer is taught to restyle a stream.
///
/// A stream mixes noise into the *source* latents and takes the first step from there; later steps
/// start from its own result with less noise. Both are trained, told apart by their timesteps.
public struct StreamTrainingOptions: Codable, Sendable, Equatable {
    /// The part of noise in the input of the first step where nothing moves.
    public var noiseScale: Double
    /// How far a stream lowers the noise where much moves.
    public var noiseSpread: Double
    /// What a first timestep is above 1000 times its noise; -100 if it is not given.
    public var timestepOffset: Int?
    /// The part of samples that have the full noise in every frame.
    public var fullNoise: Double
    /// The timesteps of later steps, drawn evenly for each frame; repeat one to draw it more often.
    public var laterTimesteps: [Int]
    /// The part of later steps that start from the network's own result, not from the target.
    public var ownResults: Double
    /// The part of clips that do not begin at a video's first frame.
    public var runningClips: Double
    /// Latent frames of a sample.
    public var latentFrames: Int
    /// Latent frames that a frame sees, itself included: the size of the stream's KV cache.
    public var window: Int
    /// What transformer and text encoder compute in; float32 if it is not given.
    public var precision: Precision?
    /// Whether blocks are computed again for gradients instead of being kept: less memory, more time.
    public var gradientCheckpointing: Bool?

    /// `timestepOffset`, or the reference's (StreamDiffusionV2, streamv2v/inference.py).
    var firstTimestepOffset: Int { timestepOffset ?? -100 }

    private enum CodingKeys: String, CodingKey {
        case noiseScale = "noise_scale", noiseSpread = "noise_spread", fullNoise = "full_noise"
        case timestepOffset = "timestep_offset"
        case laterTimesteps = "later_timesteps", ownResults = "own_results"
        case runningClips = "running_clips", latentFrames = "latent_frames", window, precision
        case gradientCheckpointing = "gradient_checkpointing"
    }
}

/// A part of the transformer's training, with its picture size.
public struct StreamPhase: Codable, Sendable, Equatable {
    /// Steps of this phase.
    public var steps: Int
    /// Height and width of its clips in pixels.
    public var size: Int
    /// Samples of a step.
    public var batch: Int
    /// Encoded clips that samples are drawn from: the newest so many.
    public var pool: Int
    /// Clips that are encoded before the first step.
    public var firstClips: Int
    /// A new clip is encoded every so many steps.
    public var stepsPerClip: Int

    private enum CodingKeys: String, CodingKey {
        case steps, size, batch, pool, firstClips = "first_clips", stepsPerClip = "steps_per_clip"
    }

    /// Clips that are encoded from its first step to its last.
    var clips: Int { clips(at: max(0, steps - 1)).upperBound }

    /// The clips that step `step` of this phase draws from.
    ///
    /// The steps of a cycle share a range, so that a later step can draw what the one before it drew.
    func clips(at step: Int) -> Range<Int> {
        let cycle = StreamStepKind.cycle.count
        let end = firstClips + step / cycle * cycle / max(1, stepsPerClip)
        return max(0, end - pool)..<end
    }
}

/// What a step of the transformer's training starts from.
enum StreamStepKind: Sendable {
    /// From the source with noise, as a stream's first denoising step does.
    case first
    /// From the result of the training step before, as a stream's later denoising steps do.
    case later

    /// The kinds in their order, again and again; a phase begins with the first.
    static let cycle: [StreamStepKind] = [.first, .first, .later]

    /// The kind of step `step` of a phase, counted from 0.
    init(step: Int) { self = Self.cycle[step % Self.cycle.count] }
}
