import Foundation
public import SwanCheckpoints
public import SwanMedia
import SwanSystem
public import SwanText
public import Torch

/// What happens while a video is made.
public enum GenerationEvent: Sendable {
    /// A part is being opened or is at work for the first time.
    case loading(ModelFolder.Part)
    /// So many of the solver's steps are done; seconds since the first one began.
    case step(Int, of: Int, seconds: Double)
    /// What there is so far: the middle frame, small.
    case preview(VideoFrame, step: Int)
    /// The next frames of the video.
    case frames([VideoFrame], of: Int)
    /// The whole video; only from `TextToVideo` and `ImageToVideo`.
    case result(GeneratedVideo)
}

/// A video that was made, and how.
public struct GeneratedVideo: Sendable {
    /// The frames; empty where they were taken from the events.
    public var frames: [VideoFrame] = []
    /// Frames a second that the model was trained for.
    public let framesPerSecond: Int
    /// The end of the denoising [1, C, F, h, w], mean 0 and standard deviation 1; of a VACE model with
    /// the latent frames of reference pictures first, which are not decoded.
    public let latents: Tensor
    /// How it was made.
    public let plan: GenerationPlan
    /// Where the time went.
    public let seconds: GenerationSeconds
    /// What was changed in the prompt so that it could be used.
    public let promptIssues: [PromptIssue]
    /// Steps that reused what the step before had computed.
    public let reusedSteps: Int
}

/// Seconds that a video took, by what was done.
public struct GenerationSeconds: Sendable, Equatable {
    /// Opening parts; what is mapped is read while it works.
    public internal(set) var load = 0.0
    /// The prompts.
    public internal(set) var text = 0.0
    /// The given pictures.
    public internal(set) var image = 0.0
    /// Every step of the solver.
    public internal(set) var steps: [Double] = []
    /// The autoencoder's decoder, and what took the frames.
    public internal(set) var decode = 0.0
    /// From the process's start to the first step.
    public internal(set) var untilFirstStep: Double?
}

extension GeneratedVideo {
    /// Writes the video, by the extension of `path`, under that name only when it is complete.
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
