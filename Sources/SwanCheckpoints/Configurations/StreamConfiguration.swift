public import SwanSystem
import SwanModels
public import Torch
import Yams

/// How a model streams: its steps, its cache, its noise.
///
/// Reads the YAML files of StreamDiffusionV2 as they are, with a few keys of Swan's own.
public struct StreamConfiguration: Sendable, Equatable {
    /// Timesteps of the denoising steps, falling, without the final 0.
    public var steps = [700, 500, 400, 200]
    /// The shift of the flow-matching schedule.
    public var shift = 8.0
    /// Whether `steps` are positions in the shifted schedule rather than timesteps.
    public var warpsSteps = false
    /// Latent frames in a chunk; a chunk has four times as many pixel frames.
    public var framesPerBlock = 1
    /// Latent frames that a row of the KV cache holds.
    public var cacheFrames = 6
    /// The first frames of the cache, which are kept.
    public var sinkFrames = 3
    /// Similarity under which a sink frame is refreshed; negative for never.
    public var sinkThreshold = -1.0
    /// How much noise is mixed into the input, 0 ... 1.
    public var noiseScale = 0.8
    /// What the first timestep is above 1000 times the noise scale once motion sets the noise.
    public var timestepOffset = -100
    /// Whether latents are normalised by the autoencoder's mean and deviation before they are noised.
    ///
    /// StreamDiffusionV2 gives its models the raw mean.
    public var normalizesLatents = false
    /// The size the model was made for, if it says so.
    public var height, width: Int?
    /// The size that frames have unless another one is asked for, in pixels.
    package var frameSize: (width: Int, height: Int) { (width ?? 832, height ?? 480) }
    /// The frame rate the model was made for, if it says so.
    public var fps: Double?
    /// What the model computes in on a CPU without tiles, unless told otherwise; nil for what suits the
    /// processor.
    ///
    /// A small model's narrow layers gain nothing from vector instructions for bfloat16, and Swan's
    /// kernels for float32 serve them best; its kernels by tiles (AMX) serve both.
    public var cpuType: DType?
    /// The looks that the model knows, if it says so; other prompts then ask for no change.
    public var looks: KnownLooks?

    /// What the model computes in on a device unless told otherwise.
    public func computeType(on device: Device) -> DType {
        guard device == .cpu, !Engine.hasTiles else { return .suited(to: device) }
        return cpuType ?? .suited(to: device)
    }

    /// The values of StreamDiffusionV2's `wan_causal_dmd_v2v.yaml`.
    public init() {}

    /// Reads a YAML file.
    ///
    /// Keys that only concern StreamDiffusionV2's training are let pass; an unknown key is an error.
    public init(yamlAt path: String) throws(SwanError) {
        let text: String
        do {
            text = try SmallFile.text(path)
        } catch {
            throw SwanError(.invalidConfiguration, error.message)
        }
        try self.init(yaml: text, name: path)
    }

    /// Reads YAML; `name` says where it is from in errors.
    public init(yaml: String, name: String) throws(SwanError) {
        do {
            guard let root = try StrictYAML.compose(yaml), root.mapping != nil else {
                throw SwanError(.invalidConfiguration, "is not a YAML mapping of keys")
            }
            self = try YAMLDecoder().decode(Self.self, from: root)
        } catch let error as DecodingError {
            throw SwanError(
                .invalidConfiguration,
                "\(name): \(Self.reason(error).printable(limit: 1_000))"
            )
        } catch let error as SwanError {
            throw SwanError(error.code, "\(name): \(error.message)")
        } catch {
            throw SwanError(.invalidConfiguration, "\(name): \(error)")
        }
    }

    private static func reason(_ error: DecodingError) -> String {
        switch error {
        case .dataCorrupted(let context), .typeMismatch(_, let context),
            .valueNotFound(_, let context), .keyNotFound(_, let context):
            context.debugDescription
        @unknown default: "\(error)"
        }
    }

    /// Throws where numbers are out of range or do not go together.
    package func check() throws(SwanError) {
        func require(_ holds: Bool, _ message: String) throws(SwanError) {
            if !holds { throw SwanError(.invalidConfiguration, message) }
        }
        try require(!steps.isEmpty, "denoising_step_list has no step above 0")
        try require(steps.count <= 1_000, "denoising_step_list has more than 1000 steps")
        try require(
            steps.allSatisfy { (1...1_000).contains($0) }
                && zip(steps, steps.dropFirst()).allSatisfy(>),
            "denoising_step_list \(steps) must fall from at most 1000"
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
            "num_kv_cache \(cacheFrames) must be above num_frame_per_block \(framesPerBlock) and hold "
                + "\(sinkFrames) sink frames besides"
        )
        try require(shift > 0 && shift <= 1_000, "timestep_shift must be positive, at most 1000")
        try require((0...1).contains(noiseScale), "noise_scale must be 0 ... 1")
        try require(
            (-1_000...1_000).contains(timestepOffset),
            "timestep_offset must be -1000 ... 1000"
        )
    }

    /// Takes the first `count` steps, as `--steps` does.
    public mutating func keepSteps(_ count: Int) throws(SwanError) {
        guard count >= 1, count <= steps.count else {
            throw SwanError(
                .invalidRequest,
                "\(count) steps were asked for; this model's list \(steps) has 1 ... \(steps.count)"
            )
        }
        steps = Array(steps.prefix(count))
    }
}
