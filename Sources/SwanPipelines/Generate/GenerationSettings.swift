import SwanCheckpoints
public import SwanSchedulers
public import SwanSystem

/// A user's settings for a generated video, in addition to its prompt and images. Settings that are `nil`
/// default to those of the model's authors.
///
/// The command line fills it from its options. It also decodes from JSON or YAML, where every key may be missing
/// and unknown keys are errors.
public struct GenerationSettings: Sendable, Equatable, Codable {
    /// A description of what the video should not look like; `nil` for the authors' text.
    public var negativePrompt: String?
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
    public var solver: FlowSolverKind?
    /// The timesteps of a distilled model, in descending order; noise is added between them.
    public var timesteps: [Double]?
    /// The code base whose noise levels to use; `nil` for that of the checkpoint's layout.
    public var schedule: FlowScheduleKind?
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
    /// The number of steps between previews; `nil` for none.
    public var previewInterval: Int?

    /// Creates the authors' settings, with the seed 0.
    public init() {}

    /// A width and height in pixels.
    public struct PictureSize: Sendable, Equatable, Codable {
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

    /// The maximum number of frames in a video.
    public static let mostFrames = 10_001

    // MARK: - Decoding

    private enum CodingKeys: String, CodingKey, CaseIterable {
        case negativePrompt = "negative_prompt", size, area, frames, seed, steps, shift, solver
        case timesteps, schedule, guidance, lowNoiseGuidance = "guidance_low"
        case highNoiseGuidance = "guidance_high", boundary, batchesGuidance = "batch_guidance"
        case cacheThreshold = "cache", previewInterval = "preview"
    }

    /// Decodes the keys that are given and checks them.
    public init(from decoder: any Decoder) throws {
        try decoder.requireKnownKeys(CodingKeys.self)
        let values = try decoder.container(keyedBy: CodingKeys.self)
        func value<Value: Decodable>(_ key: CodingKeys) throws -> Value? {
            try values.decodeIfPresent(Value.self, forKey: key)
        }
        negativePrompt = try value(.negativePrompt)
        (size, area, frames) = (try value(.size), try value(.area), try value(.frames))
        seed = try value(.seed) ?? seed
        (steps, shift) = (try value(.steps), try value(.shift))
        (solver, schedule) = (try value(.solver), try value(.schedule))
        timesteps = try value(.timesteps)
        guidance = try value(.guidance)
        lowNoiseGuidance = try value(.lowNoiseGuidance)
        highNoiseGuidance = try value(.highNoiseGuidance)
        boundary = try value(.boundary)
        batchesGuidance = try value(.batchesGuidance)
        (cacheThreshold, previewInterval) = (
            try value(.cacheThreshold), try value(.previewInterval)
        )
        do {
            try check()
        } catch {
            throw DecodingError.dataCorrupted(
                .init(codingPath: decoder.codingPath, debugDescription: error.message)
            )
        }
    }

    // MARK: - Checking

    /// Throws `invalidRequest` for settings that are invalid for any model.
    public func check() throws(SwanError) {
        try checkFrames()
        try checkPictureSize()
        try checkGuidance()
        try require(
            timesteps == nil || steps == nil && solver == nil,
            "timesteps already determine the number of steps and the solver; "
                + "omit the steps and the solver"
        )
        try require(
            (1...1_000).contains(steps ?? 1),
            "the number of steps must be 1 to 1000, not \(steps ?? 1)"
        )
        let shift = shift ?? 1
        try require(
            shift > 0 && shift <= 1_000,
            "the shift must be above 0 and at most 1000, not \(shift)"
        )
        let threshold = cacheThreshold ?? 0
        try require(
            (0...1).contains(threshold),
            "the cache threshold must be 0 to 1, such as 0.05, not \(threshold)"
        )
        let interval = previewInterval ?? 1
        try require(
            interval >= 1,
            "the preview interval must be at least 1 step, not \(interval)"
        )
    }

    private func checkFrames() throws(SwanError) {
        guard let frames else { return }
        let stride = PartsFit.temporalStride
        try require(
            (1...Self.mostFrames).contains(frames),
            "the number of frames must be \(stride)n + 1 and at most \(Self.mostFrames), not \(frames)"
        )
        let lower = (frames - 1) / stride * stride + 1
        try require(
            frames == lower,
            "the number of frames must be \(stride)n + 1, not \(frames); the nearest are "
                + "\(lower) and \(lower + stride)"
        )
    }

    private func checkPictureSize() throws(SwanError) {
        let longest = FrameSize.largestSide
        if let size {
            try require(
                (1...longest).contains(size.width) && (1...longest).contains(size.height),
                "the width and height must be 1 to \(longest) pixels, "
                    + "not \(size.width)x\(size.height)"
            )
        }
        if let area {
            try require(
                (256...longest * longest).contains(area),
                "the area must be 256 to \(longest * longest) pixels, not \(area)"
            )
            try require(size == nil, "a size and an area cannot be combined; specify one of them")
        }
    }

    private func checkGuidance() throws(SwanError) {
        for (name, value) in [
            ("guidance", guidance), ("guidance at low noise", lowNoiseGuidance),
            ("guidance at high noise", highNoiseGuidance),
        ] {
            guard let value else { continue }
            try require(
                (0...100).contains(value),
                "the \(name) must be 0 to 100, not \(value); 1 turns it off"
            )
        }
        let boundary = boundary ?? 0
        try require(
            (0...1).contains(boundary),
            "the boundary must be a noise level from 0 to 1, not \(boundary)"
        )
    }

    private func require(
        _ holds: Bool,
        _ message: @autoclosure () -> String
    ) throws(SwanError) {
        guard holds else { throw SwanError(.invalidRequest, message()) }
    }
}
