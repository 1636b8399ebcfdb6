public import SwanMedia
public import SwanSystem
import SwanText
public import Torch

/// A request for one video.
public struct GenerationRequest: Sendable {
    /// A description of what the video should show.
    public var prompt: String
    /// The first frame.
    public var image: VideoFrame?
    /// The last frame, for models that accept one.
    public var lastImage: VideoFrame?
    /// The control inputs of a VACE model: a video, masks of what to repaint, and reference images.
    public var control: Control?
    /// Sizes, steps, guidance and the seed.
    public var settings = GenerationSettings()
    /// The initial noise [1, C, F, h, w], instead of noise from the seed.
    public var initialLatents: Tensor?
    /// The embeddings of the prompt and negative prompt [1, T, C], replacing the text encoder.
    public var promptEmbeddings, negativeEmbeddings: Tensor?
    /// The CLIP features of the images [1, 257 n, C], replacing the image encoder.
    public var imageEmbeddings: Tensor?

    /// Creates a request with default settings.
    public init(prompt: String) { self.prompt = prompt }

    /// The control inputs of a VACE model.
    public struct Control: Sendable {
        /// The frames to follow; empty to use references alone.
        public var video: [VideoFrame] = []
        /// A mask per frame of the video, white where to repaint; one for all frames, or empty to
        /// repaint everything. The video ends with its masks, as in Wan's code.
        public var masks: [VideoFrame] = []
        /// Images of what should appear in the video.
        public var references: [VideoFrame] = []
        /// The frame rate that VACE models were trained with.
        public static let framesPerSecond = 16
        /// The maximum number of frames to follow by default.
        public static let mostFrames = 81
        /// The scale of the control's effect.
        public var scale = 1.0

        /// Creates empty control inputs.
        public init() {}

        /// The frames that are followed: as many as have a mask.
        var followed: [VideoFrame] {
            masks.count > 1 ? Array(video.prefix(masks.count)) : video
        }

        /// What of the video is not followed because its masks end; nil if all is.
        ///
        /// - Parameter frames: The number of frames of the generated video.
        func issue(frames: Int) -> String? {
            guard masks.count > 1,
                masks.count < min(video.count, GenerationRequest.Control.mostFrames)
            else { return nil }
            let free = max(0, frames - masks.count)
            return
                "the mask has \(masks.count) frames, fewer than the control video: only its first "
                + "\(masks.count) are followed, as in Wan's code"
                + (free > 0 ? ", and the other \(free) frames are generated freely" : "")
                + "; a mask that is one picture is for all frames"
        }
    }

    /// Throws `invalidRequest` for requests that are invalid for any model.
    public func check() throws(SwanError) {
        guard promptEmbeddings != nil || !cleanPrompt(prompt).isEmpty else {
            throw SwanError(
                .invalidRequest,
                "the prompt is empty; describe what the video should show"
            )
        }
        guard control?.scale.isFinite ?? true else {
            throw SwanError(
                .invalidRequest,
                "the scale of the control must be a number such as 1, not \(control?.scale ?? 1)"
            )
        }
        try settings.check()
    }
}
