import Foundation
public import SwanCheckpoints
public import SwanMedia
import SwanSystem
public import SwanText
public import Torch

/// An event during the generation of a video.
public enum GenerationEvent: Sendable {
    /// A part is being opened or used for the first time.
    case loading(ModelFolder.Part)
    /// The number of completed solver steps, and the seconds since the first one began.
    case step(Int, of: Int, seconds: Double)
    /// A preview of the result so far: the middle frame, downsized.
    case preview(VideoFrame, step: Int)
    /// The next frames of the video.
    case frames([VideoFrame], of: Int)
    /// The complete video; only from `TextToVideo` and `ImageToVideo`.
    case result(GeneratedVideo)
}

/// A generated video and how it was made.
public struct GeneratedVideo: Sendable {
    /// The frames; empty if they were delivered as events.
    public var frames: [VideoFrame] = []
    /// The frame rate the model was trained with.
    public let framesPerSecond: Int
    /// The final latents [1, C, F, h, w], normalized to mean 0 and standard deviation 1. Those of a
    /// VACE model begin with the latent frames of reference images, which are not decoded.
    public let latents: Tensor
    /// The settings that were used.
    public let plan: GenerationPlan
    /// The time spent in each stage.
    public let seconds: GenerationSeconds
    /// The changes that had to be made to the prompts.
    public let promptIssues: [PromptIssue]
    /// The number of steps that reused the previous step's results.
    public let reusedSteps: Int
}

/// The time spent on a video, in seconds, by stage.
public struct GenerationSeconds: Sendable, Equatable {
    /// Opening parts; memory-mapped weights are read later, while a part runs.
    public internal(set) var load = 0.0
    /// Encoding the prompts.
    public internal(set) var text = 0.0
    /// Encoding the input images.
    public internal(set) var image = 0.0
    /// Each step of the solver.
    public internal(set) var steps: [Double] = []
    /// The autoencoder's decoder and the consumer of the frames.
    public internal(set) var decode = 0.0
    /// From the start of the process to the first step.
    public internal(set) var untilFirstStep: Double?
}

extension GeneratedVideo {
    /// Writes the video in the format of the path's extension; the file appears once complete.
    public func write(to path: String) throws {
        guard let first = frames.first, let rate = Rational(framesPerSecond) else {
            throw SwanError(.invalidRequest, "\(path): the video has no frames to write")
        }
        let writer = try VideoWriter(
            path: path,
            width: first.width,
            height: first.height,
            frameRate: rate
        )
        for frame in frames { try writer.append(frame) }
        try writer.finish()
    }
}
