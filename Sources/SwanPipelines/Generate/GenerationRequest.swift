import SwanCheckpoints
public import SwanMedia
public import SwanSchedulers
public import SwanSystem
import SwanText
public import Torch

/// One video to be made. What is nil is as the model's authors run it.
public struct GenerationRequest: Sendable {
    /// What the video should show.
    public var prompt: String
    /// What it should not look like; nil for the authors' text.
    public var negativePrompt: String?
    /// The first frame.
    public var image: VideoFrame?
    /// The last frame, for models that take one.
    public var lastImage: VideoFrame?
    /// What guides a VACE model: a video, masks of what to repaint, and pictures to take things from.
    public var control: Control?
    /// Exactly this size; pictures are scaled to cover it and cut.
    public var size: PictureSize?
    /// About so many pixels, in the ratio of the picture given.
    public var area: Int?
    /// Frames of the video, 4 n + 1.
    public var frames: Int?
    /// Seed of the noise.
    public var seed: UInt64 = 0
    /// Steps of the solver.
    public var steps: Int?
    /// How far noise levels are shifted towards more noise.
    public var shift: Double?
    /// What follows the flow; nil for what the checkpoint's scheduler is, or UniPC.
    public var solver: Solver?
    /// The timesteps of a distilled model, falling; the sample is noised again between them.
    public var timesteps: [Double]?
    /// Whose noise levels to use; nil for those of the code that the checkpoint's layout belongs to.
    public var schedule: Schedule?
    /// How far the flow is led from the negative prompt to the prompt; 1 for not at all.
    public var guidance: Double?
    /// The same below and above the boundary of two experts.
    public var lowNoiseGuidance, highNoiseGuidance: Double?
    /// The noise level (0 ... 1) from which on the expert for high noise works.
    public var boundary: Double?
    /// Whether prompt and negative prompt go through the transformer side by side, which takes more
    /// memory; nil for where the video is so small that reading the weights twice is what costs.
    public var batchesGuidance: Bool?
    /// How much the first block's output may change for a step to reuse the last one's; nil for never.
    public var cacheThreshold: Double?
    /// The noise to begin from [1, C, F, h, w], instead of the seed's.
    public var initialLatents: Tensor?
    /// What the text encoder would give for the prompt and the negative prompt [1, T, C], instead of it.
    public var promptEmbeddings, negativeEmbeddings: Tensor?
    /// What CLIP would see in the pictures [1, 257 n, C], instead of it.
    public var imageEmbeddings: Tensor?
    /// A picture of what there is after every so many steps.
    public var previewInterval: Int?

    /// A video of a prompt.
    public init(prompt: String) { self.prompt = prompt }

    /// Width and height in pixels.
    public struct PictureSize: Sendable, Equatable {
        /// In pixels.
        public var width: Int
        /// In pixels.
        public var height: Int

        /// A size.
        public init(width: Int, height: Int) {
            self.width = width
            self.height = height
        }
    }

    /// What follows the flow from noise to a video.
    public typealias Solver = FlowSolverKind
    /// Whose noise levels are used.
    public typealias Schedule = FlowScheduleKind

    /// What guides a VACE model.
    public struct Control: Sendable {
        /// Frames to follow; none for a video from references alone.
        public var video: [VideoFrame] = []
        /// White where to repaint, a frame for each of the video's; none for everywhere.
        public var masks: [VideoFrame] = []
        /// Pictures of what should appear.
        public var references: [VideoFrame] = []
        /// Frames a second of what VACE models were trained with.
        public static let framesPerSecond = 16
        /// Frames that are followed unless more are asked for.
        public static let mostFrames = 81
        /// How strongly the control acts.
        public var scale = 1.0

        /// Nothing to follow yet.
        public init() {}
    }

    /// Frames that a video can have.
    public static let mostFrames = 10_001

    /// Throws for what is wrong whatever the model.
    public func check() throws(SwanError) {
        func require(_ holds: Bool, _ message: @autoclosure () -> String) throws(SwanError) {
            if !holds { throw SwanError(.invalidRequest, message()) }
        }
        try require(
            promptEmbeddings != nil || !cleanPrompt(prompt).isEmpty,
            "the prompt is empty: say what the video should show"
        )
        if let frames {
            let stride = PartsFit.temporalStride
            let lower = max(1, (frames - 1) / stride * stride + 1)
            try require(
                frames >= 1 && frames % stride == 1,
                "\(frames) frames do not fit: a video has 4n + 1 of them; the nearest are "
                    + "\(lower) and \(lower + 4)"
            )
            try require(
                frames <= Self.mostFrames,
                "\(frames) frames are more than \(Self.mostFrames)"
            )
        }
        if let steps {
            try require((1...1_000).contains(steps), "\(steps) steps are not in 1 ... 1000")
        }
        try require(
            timesteps == nil || steps == nil && solver == nil,
            "timesteps say how many steps there are and that the sample is noised between them: "
                + "leave steps and solver out"
        )
        for (name, value) in [
            ("guidance", guidance), ("guidance at low noise", lowNoiseGuidance),
            ("guidance at high noise", highNoiseGuidance),
        ] {
            guard let value else { continue }
            try require(
                value.isFinite && (0...100).contains(value),
                "a \(name) of \(value) is not in 0 ... 100 (1 is none)"
            )
        }
        if let shift {
            try require(shift > 0 && shift <= 1_000, "a shift of \(shift) is not in 0 ... 1000")
        }
        if let boundary {
            try require(
                (0...1).contains(boundary),
                "a boundary of \(boundary) is not a noise level in 0 ... 1"
            )
        }
        if let cacheThreshold {
            try require(
                (0...1).contains(cacheThreshold),
                "a cache threshold of \(cacheThreshold) is not in 0 ... 1, such as 0.05"
            )
        }
        if let previewInterval {
            try require(previewInterval >= 1, "a preview every \(previewInterval) steps")
        }
        if let size {
            let sides = 1...FrameSize.largestSide
            try require(
                sides.contains(size.width) && sides.contains(size.height),
                "a size of \(size.width)x\(size.height) is not in 1 ... \(FrameSize.largestSide)"
            )
        }
        if let area {
            try require(
                (256...FrameSize.largestSide * FrameSize.largestSide).contains(area),
                "an area of \(area) pixels is not in 256 ... "
                    + "\(FrameSize.largestSide * FrameSize.largestSide)"
            )
            try require(size == nil, "a size and an area: give one of them")
        }
    }
}
