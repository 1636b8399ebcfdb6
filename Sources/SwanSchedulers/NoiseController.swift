import Torch

/// How much noise a chunk of video gets, and where its denoising starts: less where more moves.
///
/// StreamDiffusionV2, https://arxiv.org/abs/2511.07399, the motion-aware noise controller
/// (streamv2v/inference.py, `compute_noise_scale_and_step`). A value: a copy goes on by itself.
public struct NoiseController: Sendable {
    /// What a chunk is noised with.
    public struct Noise: Sendable, Equatable {
        /// The noise level: noise * scale + latents * (1 - scale).
        public let scale: Double
        /// The timestep that takes the place of the first denoising step; nil to leave it.
        public let firstTimestep: Int?

        /// The noise of a chunk.
        public init(scale: Double, firstTimestep: Int? = nil) {
            self.scale = scale
            self.firstTimestep = firstTimestep
        }
    }

    /// The noise scale of a picture that stands still.
    public let initialScale: Double
    /// Whether motion is ignored.
    public let isFixed: Bool
    /// What a moving chunk's first timestep is above 1000 times its noise scale; below it if negative.
    public let timestepOffset: Int
    /// The noise scale of the last chunk.
    public private(set) var scale: Double
    private var lastFrame: Tensor?

    /// A controller before its first chunk.
    ///
    /// - Parameters:
    ///   - initialScale: 0 to 1.
    ///   - isFixed: every chunk gets `initialScale` and the model's own steps.
    ///   - timestepOffset: -100 in the reference. A model that is to keep to its input takes little noise
    ///     and needs timesteps above it: the timestep is how far a flow reaches.
    ///   - previousScale: the last chunk's scale, to go on with a stream; nil for a new one.
    public init(
        initialScale: Double,
        isFixed: Bool = false,
        timestepOffset: Int = -100,
        previousScale: Double? = nil
    ) throws(SchedulerError) {
        guard 0...1 ~= initialScale, 0...1 ~= previousScale ?? initialScale else {
            throw SchedulerError(
                .invalidOption,
                "a noise scale of \(initialScale): it should be between 0 and 1"
            )
        }
        self.initialScale = initialScale
        self.isFixed = isFixed
        self.timestepOffset = timestepOffset
        scale = previousScale ?? initialScale
    }

    /// The noise for the next chunk of frames [C, T, H, W] in -1 ... 1.
    ///
    /// It waits once for the frames' device. The first chunk of a stream gets the initial scale,
    /// since nothing is known of its motion.
    public mutating func next(_ frames: Tensor) throws(TorchError) -> Noise {
        guard !isFixed else { return Noise(scale: initialScale, firstTimestep: nil) }
        let last = try frames.sliced(1, from: -1).cloned()
        defer { lastFrame = last }
        guard let lastFrame else { return Noise(scale: scale, firstTimestep: nil) }
        return follow(
            try Self.motion(in: concatenated([lastFrame.to(frames.dtype), frames], dim: 1))
        )
    }

    /// Follows a motion between 0 (nothing moves) and 1 (everything does).
    ///
    /// Neither result leaves its range, which the reference's would for an initial scale under 0.2.
    mutating func follow(_ motion: Double) -> Noise {
        scale = max(0, (initialScale - 0.1 * motion) * 0.9 + scale * 0.1)
        let timestep = Int(1_000 * scale) + timestepOffset
        return Noise(scale: scale, firstTimestep: min(max(0, timestep), 1_000))
    }

    /// The largest change between neighbours of frames [C, T + 1, H, W], as a part of 1.
    ///
    /// A root mean square of 0.2 (in -1 ... 1) counts as all that can change.
    static func motion(in frames: Tensor) throws(TorchError) -> Double {
        let x = try frames.to(.float32)
        let change = try x.sliced(1, from: 1) - x.sliced(1, 0..<(frames.size(1) - 1))
        let distances = try (change * change).mean([0, 2, 3]).squareRoot()
        return try (distances.max() / 0.2).clamped(min: 0, max: 1).item()
    }
}
