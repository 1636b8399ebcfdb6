public import Torch
public import SwanSystem

/// Chooses the noise scale and first timestep of each chunk: the more motion, the less noise.
///
/// StreamDiffusionV2, https://arxiv.org/abs/2511.07399, the motion-aware noise controller
/// (streamv2v/inference.py, `compute_noise_scale_and_step`). Copies are independent.
public struct NoiseController: Sendable {
    /// The noise of a chunk.
    public struct Noise: Sendable, Equatable {
        /// The noise level: noise * scale + latents * (1 - scale).
        public let scale: Double
        /// The timestep that replaces the first denoising step; nil to keep it.
        public let firstTimestep: Int?

        /// Creates the noise of a chunk.
        public init(scale: Double, firstTimestep: Int? = nil) {
            self.scale = scale
            self.firstTimestep = firstTimestep
        }
    }

    /// The noise scale without motion.
    public private(set) var initialScale: Double
    /// Whether to ignore motion.
    public private(set) var isFixed: Bool
    /// The offset of the first timestep from 1000 times the noise scale.
    public let timestepOffset: Int
    /// The noise scale of the last chunk.
    public private(set) var scale: Double
    private var lastFrame: Tensor?

    /// Creates a controller before its first chunk.
    ///
    /// - Parameters:
    ///   - initialScale: 0 to 1.
    ///   - isFixed: Whether every chunk uses `initialScale` and the model's denoising steps.
    ///   - timestepOffset: -100 in the reference. A model that stays close to its input uses little
    ///     noise and needs higher timesteps, because the timestep limits how far a flow can change
    ///     the input.
    ///   - previousScale: The last chunk's scale, to continue a stream; nil for a new one.
    public init(
        initialScale: Double,
        isFixed: Bool = false,
        timestepOffset: Int = -100,
        previousScale: Double? = nil
    ) throws(SwanError) {
        guard 0...1 ~= initialScale, 0...1 ~= previousScale ?? initialScale else {
            throw SwanError(
                .invalidOption,
                "invalid noise scale \(initialScale): must be between 0 and 1"
            )
        }
        self.initialScale = initialScale
        self.isFixed = isFixed
        self.timestepOffset = timestepOffset
        scale = previousScale ?? initialScale
    }

    /// Changes the noise scale without motion, and whether to ignore motion, from the next chunk on.
    public mutating func change(initialScale: Double, isFixed: Bool) throws(SwanError) {
        var changed = try NoiseController(
            initialScale: initialScale,
            isFixed: isFixed,
            timestepOffset: timestepOffset
        )
        changed.lastFrame = lastFrame
        self = changed
    }

    /// Forgets past frames, at a cut; the next chunk gets the initial scale.
    public mutating func restart() { (scale, lastFrame) = (initialScale, nil) }

    /// The noise for the next chunk of frames [C, T, H, W] in -1 ... 1.
    ///
    /// Synchronizes once with the frames' device. The first chunk of a stream gets the initial
    /// scale, because its motion is unknown.
    public mutating func next(_ frames: Tensor) throws(SwanError) -> Noise {
        guard !isFixed else { return Noise(scale: initialScale, firstTimestep: nil) }
        let last = try frames.sliced(1, from: -1).cloned()
        defer { lastFrame = last }
        guard let lastFrame else { return Noise(scale: scale, firstTimestep: nil) }
        return update(
            motion: try Self.motion(in: concatenated([lastFrame.to(frames.dtype), frames], dim: 1))
        )
    }

    /// Updates the noise for a motion between 0 (none) and 1 (maximum).
    ///
    /// Clamps both results to their range, unlike the reference for an initial scale under 0.2.
    mutating func update(motion: Double) -> Noise {
        scale = max(0, (initialScale - 0.1 * motion) * 0.9 + scale * 0.1)
        let timestep = Int(1_000 * scale) + timestepOffset
        return Noise(scale: scale, firstTimestep: min(max(0, timestep), 1_000))
    }

    /// The largest change between adjacent frames of [C, T + 1, H, W], from 0 to 1.
    ///
    /// A root mean square difference of 0.2 (in -1 ... 1) counts as 1.
    static func motion(in frames: Tensor) throws(SwanError) -> Double {
        let x = try frames.to(.float32)
        let change = try x.sliced(1, from: 1) - x.sliced(1, 0..<(frames.size(1) - 1))
        let distances = try (change * change).mean([0, 2, 3]).squareRoot()
        return try (distances.max() / 0.2).clamped(min: 0, max: 1).item()
    }
}
