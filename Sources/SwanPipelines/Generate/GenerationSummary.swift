public import Foundation
import SwanMedia
import SwanSystem
import Torch

/// The summary of a generation, as written by `--json`.
public struct GenerationSummary: Sendable, Codable, Equatable {
    /// One video.
    public struct Video: Sendable, Codable, Equatable {
        /// The path of the file.
        public var output: String
        /// The prompt.
        public var prompt: String
        /// The seed.
        public var seed: UInt64
        /// The seconds from the prompt to the finished file.
        public var seconds = 0.0
        /// The number of steps that reused the previous step's results.
        public var reusedSteps = 0

        private enum CodingKeys: String, CodingKey {
            case output, prompt, seed, seconds, reusedSteps = "reused_steps"
        }
    }

    /// The total milliseconds of all videos per stage.
    public struct Stages: Sendable, Codable, Equatable {
        /// Opening parts of the model.
        public var load = 0.0
        /// The text encoder.
        public var text = 0.0
        /// Input images: CLIP and the autoencoder's encoder.
        public var image = 0.0
        /// The transformer and the solver.
        public var denoise = 0.0
        /// The autoencoder's decoder and video encoding.
        public var vaeDecode = 0.0

        private enum CodingKeys: String, CodingKey {
            case load, text, image, denoise, vaeDecode = "vae_decode"
        }
    }

    /// The schema version, incremented when a key is removed or changes its meaning.
    public var schemaVersion = 1
    /// The model's name.
    public var model = ""
    /// The model's task, such as text-to-video.
    public var task = ""
    /// The videos that were finished.
    public var videos: [Video] = []
    /// The width in pixels.
    public var width = 0
    /// The height in pixels.
    public var height = 0
    /// The number of frames in each video.
    public var frames = 0
    /// The frame rate.
    public var framesPerSecond = 0.0
    /// The number of solver steps.
    public var steps = 0
    /// The solver.
    public var solver = ""
    /// The code base whose noise levels were used.
    public var schedule = ""
    /// The shift of the noise levels.
    public var shift = 0.0
    /// The guidance scale; with two experts, that at high noise.
    public var guidance = 0.0
    /// The guidance scale at low noise, with two experts.
    public var lowNoiseGuidance: Double?
    /// The seconds from the start of the first video to the end of the last.
    public var seconds = 0.0
    /// The median duration of a step, in seconds.
    public var secondsPerStep: Double?
    /// The seconds from the start of the process to the first step.
    public var firstStepSeconds: Double?
    /// The time spent in each stage.
    public var stages = Stages()
    /// The peak memory use of the process, in bytes.
    public var peakMemoryBytes = 0
    /// The device the model ran on.
    public var device = ""
    /// The dtype of the computation.
    public var dtype = ""
    /// The number of threads used by a CPU operator.
    public var threads = 0
    /// The number of processes that generated the videos together; `nil` for one alone.
    public var ranks: Int?
    /// Whether the job was stopped before the last video was finished.
    public var wasInterrupted = false

    private enum CodingKeys: String, CodingKey {
        case schemaVersion = "schema_version", model, task, videos, width, height, frames
        case framesPerSecond = "fps", steps, solver, schedule, shift, guidance
        case lowNoiseGuidance = "low_noise_guidance", seconds
        case secondsPerStep = "seconds_per_step", firstStepSeconds = "first_step_seconds"
        case stages = "stages_ms", peakMemoryBytes = "peak_memory_bytes", device, dtype, threads,
            ranks
        case wasInterrupted = "was_interrupted"
    }

    /// Encodes the summary as JSON with sorted keys and a trailing newline.
    public func json() throws -> Data { try JSONText.data(self) }
}

extension GenerationSummary.Stages {
    /// Adds the time spent on one video.
    mutating func add(_ seconds: GenerationSeconds) {
        load += seconds.load * 1_000
        text += seconds.text * 1_000
        image += seconds.image * 1_000
        denoise += seconds.steps.reduce(0, +) * 1_000
        vaeDecode += seconds.decode * 1_000
    }
}
