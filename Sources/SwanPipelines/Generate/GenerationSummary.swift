public import Foundation
import SwanMedia
import SwanSystem
import Torch

/// What a generation did and how long it took; written by `--json`.
public struct GenerationSummary: Sendable, Codable, Equatable {
    /// One video.
    public struct Video: Sendable, Codable, Equatable {
        /// The file.
        public var output: String
        /// The prompt.
        public var prompt: String
        /// The random numbers' seed.
        public var seed: UInt64
        /// From its prompt to the finished file.
        public var seconds = 0.0
        /// Steps that reused what the step before had computed.
        public var reusedSteps = 0

        private enum CodingKeys: String, CodingKey {
            case output, prompt, seed, seconds, reusedSteps = "reused_steps"
        }
    }

    /// Milliseconds of all videos together, by stage.
    public struct Stages: Sendable, Codable, Equatable {
        /// Opening parts of the model.
        public var load = 0.0
        /// The text encoder.
        public var text = 0.0
        /// Given pictures: CLIP and the autoencoder's encoder.
        public var image = 0.0
        /// The transformer and the solver.
        public var denoise = 0.0
        /// The autoencoder's decoder, and the video's encoding.
        public var vaeDecode = 0.0

        private enum CodingKeys: String, CodingKey {
            case load, text, image, denoise, vaeDecode = "vae_decode"
        }
    }

    /// The version of this form; it rises when a key changes its meaning or goes away.
    public var schemaVersion = 1
    /// The model's name.
    public var model = ""
    /// What it makes of what.
    public var task = ""
    /// The videos that were finished.
    public var videos: [Video] = []
    /// The size in pixels.
    public var width = 0
    /// The size in pixels.
    public var height = 0
    /// Frames of each video.
    public var frames = 0
    /// Frames a second.
    public var framesPerSecond = 0.0
    /// Steps of the solver.
    public var steps = 0
    /// What followed the flow.
    public var solver = ""
    /// Whose noise levels were used.
    public var schedule = ""
    /// How far they were shifted.
    public var shift = 0.0
    /// Guidance; of two experts, that at high noise.
    public var guidance = 0.0
    /// Guidance at low noise, for two experts.
    public var lowNoiseGuidance: Double?
    /// From the first video's beginning to the last one's end.
    public var seconds = 0.0
    /// The median of all steps.
    public var secondsPerStep: Double?
    /// From the start of the process to the first step.
    public var firstStepSeconds: Double?
    /// Where the time went.
    public var stages = Stages()
    /// The most memory the process had at a time.
    public var peakMemoryBytes = 0
    /// Where it ran.
    public var device = ""
    /// What it computed in.
    public var dtype = ""
    /// Threads of an operator on the CPU.
    public var threads = 0
    /// Whether it was stopped before the last video was finished.
    public var wasInterrupted = false

    private enum CodingKeys: String, CodingKey {
        case schemaVersion = "schema_version", model, task, videos, width, height, frames
        case framesPerSecond = "fps", steps, solver, schedule, shift, guidance
        case lowNoiseGuidance = "low_noise_guidance", seconds
        case secondsPerStep = "seconds_per_step", firstStepSeconds = "first_step_seconds"
        case stages = "stages_ms", peakMemoryBytes = "peak_memory_bytes", device, dtype, threads
        case wasInterrupted = "was_interrupted"
    }

    /// As JSON, keys sorted, ending in a line break.
    public func json() throws -> Data { try JSONText.data(self) }
}

extension GenerationSummary.Stages {
    /// Adds what one video took.
    mutating func add(_ seconds: GenerationSeconds) {
        load += seconds.load * 1_000
        text += seconds.text * 1_000
        image += seconds.image * 1_000
        denoise += seconds.steps.reduce(0, +) * 1_000
        vaeDecode += seconds.decode * 1_000
    }
}
