public import SwanSystem
import SwanModels
public import Torch
import Yams

/// The streaming configuration of a model: its steps, KV cache and noise.
///
/// Reads the YAML files of StreamDiffusionV2 unmodified, and adds a few keys.
public struct StreamConfiguration: Sendable, Equatable {
    /// The noise that is mixed into the input and added between steps.
    public enum Noise: String, Sendable, CaseIterable, Codable {
        /// Other noise for every chunk.
        case fresh
        /// The same for every chunk.
        case fixed
        /// Its mean, zeros: for models that change their input and invent nothing.
        case none
    }

    /// The timesteps of the denoising steps, in decreasing order, without the final 0 unless
    /// `addZeroStep` has added it.
    public var steps = [700, 500, 400, 200]
    /// The shift of the flow-matching schedule.
    public var shift = 8.0
    /// Whether `steps` are indices into the shifted schedule rather than timesteps.
    public var warpsSteps = false
    /// The number of latent frames per chunk; a chunk has four times as many pixel frames.
    public var framesPerBlock = 1
    /// The number of latent frames that each row of the KV cache holds.
    public var cacheFrames = 6
    /// The number of sink frames: the first frames in the cache, which are kept.
    public var sinkFrames = 3
    /// The similarity below which a sink frame is refreshed, at least -1; -1 for never.
    public var sinkThreshold = -1.0
    /// The timestep at which a finished chunk runs once more, so that later chunks see the keys of
    /// its clean content (Self-Forcing, https://arxiv.org/abs/2506.08009); 0 for no noise.
    ///
    /// Nil: later chunks see what its last step saw, as in StreamDiffusionV2.
    public var contextNoise: Int?
    /// The number of latent frames after which a stream from noise begins anew, with a cut: those
    /// of the videos that the model has learned. Nil for never; needs `contextNoise`.
    public var shotFrames: Int?
    /// Whether a stream without an input also runs the final timestep 0 as a step, as
    /// StreamDiffusionV2's `--t2v`.
    public var runsZeroStep = false
    /// The amount of noise mixed into the input, from 0 to 1.
    public var noiseScale = 0.8
    /// The kind of noise.
    public var noise = Noise.fresh
    /// Whether a scene begins with its first frame twice, of which one is not shown: for models
    /// whose first latent, which stands for a single frame, comes out worse than others.
    public var repeatsFirstFrame = false
    /// The most frames over which the output's parts are averaged while the input stands still
    /// there; nil for none.
    public var stillFrames: Int?
    /// The offset added to 1000 times the noise scale to get the first timestep, once motion
    /// controls the noise.
    public var timestepOffset = -100
    /// Whether latents are normalized by the autoencoder's mean and standard deviation before noise is added.
    ///
    /// StreamDiffusionV2 passes the raw mean to its models.
    public var normalizesLatents = false
    /// The size that the model was trained for, in pixels, if specified.
    public var height, width: Int?
    /// The default frame size in pixels.
    package var frameSize: (width: Int, height: Int) { (width ?? 832, height ?? 480) }
    /// The frame rate that the model was trained for, if specified.
    public var fps: Double?
    /// The default compute dtype on a CPU without AMX tiles; nil to choose by processor.
    ///
    /// The narrow layers of a small model gain nothing from bfloat16 vector instructions and run fastest on
    /// Swan's float32 kernels. Its AMX tile kernels are fast for both.
    public var cpuType: DType?
    /// The styles that the model knows, if specified; other prompts then request no change.
    public var styles: KnownStyles?

    /// Returns the default compute dtype on a device.
    public func computeType(on device: Device) -> DType {
        guard device == .cpu, !Engine.hasTiles else { return .suited(to: device) }
        return cpuType ?? .suited(to: device)
    }

    /// Creates a configuration with the values of StreamDiffusionV2's `wan_causal_dmd_v2v.yaml`.
    public init() {}

    /// Reads a YAML file.
    ///
    /// Keys that only concern StreamDiffusionV2's training are ignored; an unknown key is an error.
    public init(yamlAt path: String) throws(SwanError) {
        let text: String
        do {
            text = try SmallFile.text(path)
        } catch {
            throw SwanError(.invalidConfiguration, error.message, cause: error)
        }
        try self.init(yaml: text, name: path)
    }

    /// Reads YAML text.
    ///
    /// - Parameters:
    ///   - yaml: The text.
    ///   - name: The name of the source, for error messages.
    public init(yaml: String, name: String) throws(SwanError) {
        do {
            guard let root = try StrictYAML.compose(yaml), root.mapping != nil else {
                throw SwanError(.invalidConfiguration, "not a YAML mapping")
            }
            self = try YAMLDecoder().decode(Self.self, from: root)
        } catch let error as DecodingError {
            let reason = error.context?.debugDescription ?? "\(error)"
            throw SwanError(.invalidConfiguration, "\(name): \(reason.printable(limit: 1_000))")
        } catch let error as SwanError {
            throw SwanError(error.code, "\(name): \(error.message)", cause: error)
        } catch {
            throw SwanError(.invalidConfiguration, "\(name): \(error)", cause: error)
        }
    }

    /// Throws if values are out of range or inconsistent.
    package func check() throws(SwanError) {
        func require(_ holds: Bool, _ message: String) throws(SwanError) {
            if !holds { throw SwanError(.invalidConfiguration, message) }
        }
        try require(!steps.isEmpty, "denoising_step_list must have at least one step above 0")
        try require(steps.count <= 1_000, "denoising_step_list has more than 1000 steps")
        try require(
            steps.allSatisfy { (1...1_000).contains($0) }
                && zip(steps, steps.dropFirst()).allSatisfy(>),
            "denoising_step_list \(steps) must decrease from at most 1000"
        )
        func require<Value: Comparable>(
            _ value: Value,
            in range: ClosedRange<Value>,
            _ key: String
        ) throws(SwanError) {
            do {
                try NumberLimits.require(value, in: range, key)
            } catch {
                throw error.as(.invalidConfiguration)
            }
        }
        try require(framesPerBlock, in: NumberLimits.frames, "num_frame_per_block")
        try require(cacheFrames, in: NumberLimits.frames, "num_kv_cache")
        try require(sinkFrames, in: 0...NumberLimits.frames.upperBound, "num_sink_tokens")
        try require(sinkThreshold, in: NumberLimits.magnitude, "adapt_sink_threshold")
        if let height { try require(height, in: NumberLimits.side, "height") }
        if let width { try require(width, in: NumberLimits.side, "width") }
        if let fps { try require(fps, in: NumberLimits.frameRate, "fps") }
        try require(
            cacheFrames > framesPerBlock && cacheFrames >= sinkFrames + framesPerBlock,
            "num_kv_cache \(cacheFrames) must be greater than num_frame_per_block \(framesPerBlock) "
                + "and have room for \(sinkFrames) sink frames in addition"
        )
        if let shotFrames {
            try require(shotFrames, in: NumberLimits.frames, "shot_frames")
            try require(
                contextNoise != nil && shotFrames.isMultiple(of: framesPerBlock),
                "shot_frames \(shotFrames) needs context_noise, and must be a multiple of "
                    + "num_frame_per_block \(framesPerBlock)"
            )
        }
        if let stillFrames { try require(stillFrames, in: 2...64, "still_frames") }
        if let contextNoise { try require(contextNoise, in: 0...1_000, "context_noise") }
        try require(shift > 0 && shift <= 1_000, "timestep_shift must be positive and at most 1000")
        try require((0...1).contains(noiseScale), "noise_scale must be from 0 to 1")
        try require(
            (-1_000...1_000).contains(timestepOffset),
            "timestep_offset must be from -1000 to 1000"
        )
    }

    /// Adds the final timestep 0 as a step, for a stream without an input.
    package mutating func addZeroStep() {
        if steps.last != 0 { steps.append(0) }
    }

    /// Keeps only the first `count` steps, as `--steps` does.
    public mutating func keepSteps(_ count: Int) throws(SwanError) {
        guard count >= 1, count <= steps.count else {
            throw SwanError(
                .invalidRequest,
                "invalid number of steps \(count): this model's list \(steps) allows 1 to \(steps.count)"
            )
        }
        steps = Array(steps.prefix(count))
    }
}
