import SwanCheckpoints
public import SwanMedia
public import SwanSchedulers
public import SwanSystem
import SwanText
public import Torch

/// A request for one video. Settings that are `nil` default to those of the model's authors.
public struct GenerationRequest: Sendable {
    /// A description of what the video should show.
    public var prompt: String
    /// A description of what the video should not look like; `nil` for the authors' text.
    public var negativePrompt: String?
    /// The first frame.
    public var image: VideoFrame?
    /// The last frame, for models that accept one.
    public var lastImage: VideoFrame?
    /// The control inputs of a VACE model: a video, masks of what to repaint, and reference images.
    public var control: Control?
    /// The exact size; images are scaled to cover it and cropped.
    public var size: PictureSize?
    /// The approximate number of pixels; the aspect ratio is that of the image.
    public var area: Int?
    /// The number of frames, 4 n + 1.
    public var frames: Int?
    /// The seed of the noise.
    public var seed: UInt64 = 0
    /// The number of solver steps.
    public var steps: Int?
    /// The shift of the noise levels toward more noise.
    public var shift: Double?
    /// The solver; `nil` for the one in the checkpoint's scheduler configuration, or else UniPC.
    public var solver: Solver?
    /// The timesteps of a distilled model, in descending order; noise is added between them.
    public var timesteps: [Double]?
    /// The code base whose noise levels to use; `nil` for that of the checkpoint's layout.
    public var schedule: Schedule?
    /// The guidance scale: how far to move from the negative prompt toward the prompt; 1 is off.
    public var guidance: Double?
    /// The guidance scale below and above the boundary, for models with two experts.
    public var lowNoiseGuidance, highNoiseGuidance: Double?
    /// The lowest noise level (0 to 1) at which the high-noise expert is used.
    public var boundary: Double?
    /// Whether the prompt and the negative prompt go through the transformer as one batch, which
    /// needs more memory; `nil` to do so only for videos so small that reading the weights
    /// dominates.
    public var batchesGuidance: Bool?
    /// The largest change in the first block's output at which a step reuses the previous step's
    /// results; `nil` for never.
    public var cacheThreshold: Double?
    /// The initial noise [1, C, F, h, w], instead of noise from the seed.
    public var initialLatents: Tensor?
    /// The embeddings of the prompt and negative prompt [1, T, C], replacing the text encoder.
    public var promptEmbeddings, negativeEmbeddings: Tensor?
    /// The CLIP features of the images [1, 257 n, C], replacing the image encoder.
    public var imageEmbeddings: Tensor?
    /// The number of steps between previews; `nil` for none.
    public var previewInterval: Int?

    /// Creates a request with default settings.
    public init(prompt: String) { self.prompt = prompt }

    /// A width and height in pixels.
    public struct PictureSize: Sendable, Equatable {
        /// The width in pixels.
        public var width: Int
        /// The height in pixels.
        public var height: Int

        /// Creates a size.
        public init(width: Int, height: Int) {
            self.width = width
            self.height = height
        }
    }

    /// A solver that follows the flow from noise to a video.
    public typealias Solver = FlowSolverKind
    /// The code base whose noise levels are used.
    public typealias Schedule = FlowScheduleKind

    /// The control inputs of a VACE model.
    public struct Control: Sendable {
        /// The frames to follow; empty to use references alone.
        public var video: [VideoFrame] = []
        /// A mask per frame of the video, white where to repaint; empty to repaint everything.
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
    }

    /// The maximum number of frames in a video.
    public static let mostFrames = 10_001

    /// Throws for settings that are invalid for any model.
    public func check() throws(SwanError) {
        func require(_ holds: Bool, _ message: @autoclosure () -> String) throws(SwanError) {
            if !holds { throw SwanError(.invalidRequest, message()) }
        }
        try require(
            promptEmbeddings != nil || !cleanPrompt(prompt).isEmpty,
            "the prompt is empty; describe what the video should show"
        )
        if let frames {
            let stride = PartsFit.temporalStride
            let lower = max(1, (frames - 1) / stride * stride + 1)
            try require(
                frames >= 1 && frames % stride == 1,
                "the number of frames must be \(stride)n + 1, not \(frames); the nearest are "
                    + "\(lower) and \(lower + stride)"
            )
            try require(
                frames <= Self.mostFrames,
                "the number of frames must be at most \(Self.mostFrames), not \(frames)"
            )
        }
        if let steps {
            try require(
                (1...1_000).contains(steps),
                "the number of steps must be 1 to 1000, not \(steps)"
            )
        }
        try require(
            timesteps == nil || steps == nil && solver == nil,
            "timesteps already determine the number of steps and the solver; "
                + "omit the steps and the solver"
        )
        for (name, value) in [
            ("guidance", guidance), ("guidance at low noise", lowNoiseGuidance),
            ("guidance at high noise", highNoiseGuidance),
        ] {
            guard let value else { continue }
            try require(
                value.isFinite && (0...100).contains(value),
                "the \(name) must be 0 to 100, not \(value); 1 turns it off"
            )
        }
        if let shift {
            try require(
                shift > 0 && shift <= 1_000,
                "the shift must be above 0 and at most 1000, not \(shift)"
            )
        }
        if let boundary {
            try require(
                (0...1).contains(boundary),
                "the boundary must be a noise level from 0 to 1, not \(boundary)"
            )
        }
        if let cacheThreshold {
            try require(
                (0...1).contains(cacheThreshold),
                "the cache threshold must be 0 to 1, such as 0.05, not \(cacheThreshold)"
            )
        }
        if let previewInterval {
            try require(
                previewInterval >= 1,
                "the preview interval must be at least 1 step, not \(previewInterval)"
            )
        }
        if let size {
            let sides = 1...FrameSize.largestSide
            try require(
                sides.contains(size.width) && sides.contains(size.height),
                "the width and height must be 1 to \(FrameSize.largestSide) pixels, "
                    + "not \(size.width)x\(size.height)"
            )
        }
        if let area {
            try require(
                (256...FrameSize.largestSide * FrameSize.largestSide).contains(area),
                "the area must be 256 to \(FrameSize.largestSide * FrameSize.largestSide) pixels, "
                    + "not \(area)"
            )
            try require(size == nil, "a size and an area cannot be combined; specify one of them")
        }
    }
}
