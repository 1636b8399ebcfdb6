import SwanSystem
import SwanModels
import Torch
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
        let root: Node?
        do {
            root = try StrictYAML.compose(yaml)
        } catch {
            throw SwanError(.invalidConfiguration, "\(name): \(error)")
        }
        guard let mapping = root?.mapping else {
            throw SwanError(.invalidConfiguration, "\(name) is not a YAML mapping of keys")
        }
        for (key, value) in mapping {
            try set(key.string ?? "", value, name)
        }
        try check(name)
    }

    private mutating func set(_ key: String, _ value: Node, _ name: String) throws(SwanError) {
        func need<Value>(_ value: Value?, _ kind: String) throws(SwanError) -> Value {
            guard let value else {
                throw SwanError(.invalidConfiguration, "\(name): '\(key)' must be \(kind)")
            }
            return value
        }
        switch key {
        case "denoising_step_list":
            let list = try need(value.sequence.map { $0.map(\.int) }, "a list of timesteps")
            steps = []
            for step in list { steps.append(try need(step, "a list of whole timesteps")) }
            if steps.last == 0 { steps.removeLast() }
        case "timestep_shift": shift = try need(value.float, "a number")
        case "warp_denoising_step": warpsSteps = try need(value.bool, "true or false")
        case "num_frame_per_block": framesPerBlock = try need(value.int, "a whole number")
        case "num_kv_cache": cacheFrames = try need(value.int, "a whole number")
        case "num_sink_tokens": sinkFrames = try need(value.int, "a whole number")
        case "adapt_sink_threshold": sinkThreshold = try need(value.float, "a number")
        case "noise_scale": noiseScale = try need(value.float, "a number")
        case "timestep_offset": timestepOffset = try need(value.int, "a whole number")
        case "normalize_latents": normalizesLatents = try need(value.bool, "true or false")
        case "height": height = try need(value.int, "a whole number")
        case "width": width = try need(value.int, "a whole number")
        case "fps": fps = try need(value.float, "a number")
        case "cpu_dtype":
            let types = [DType.float32, .bfloat16, .float16]
            cpuType = try need(
                types.first { "\($0)" == value.string },
                "float32, bfloat16 or float16"
            )
        case "looks": looks = try KnownLooks(value, name)
        case "model_name", "generator_name", "generator_task":
            let known = key == "generator_task" ? ["causal_video"] : ["wan", "causal_wan"]
            guard let text = value.string, known.contains(text) else {
                throw SwanError(
                    .invalidConfiguration,
                    "\(name): '\(key)' is '\(value.string?.printable() ?? "not text")', so this "
                        + "configures another kind of model; Swan streams causal Wan models (\(known.joined(separator: ", ")))"
                )
            }
        case _ where Self.trainingKeys.contains(key): break
        default:
            throw SwanError(
                .invalidConfiguration,
                "\(name): unknown key '\(key.printable())'\(Self.suggestion(for: key))"
            )
        }
    }

    private func check(_ name: String) throws(SwanError) {
        func require(_ holds: Bool, _ message: String) throws(SwanError) {
            if !holds { throw SwanError(.invalidConfiguration, "\(name): \(message)") }
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
            try NumberLimits.require(value, in: range, key, of: name, .invalidConfiguration)
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

    private static let streamKeys: Set<String> = [
        "denoising_step_list", "timestep_shift", "warp_denoising_step", "num_frame_per_block",
        "num_kv_cache", "num_sink_tokens", "adapt_sink_threshold", "noise_scale",
        "timestep_offset", "normalize_latents", "height", "width", "fps", "cpu_dtype",
        "looks",
    ]

    /// What StreamDiffusionV2's files carry besides, for its training.
    private static let trainingKeys: Set<String> = [
        "generator_ckpt", "generator_fsdp_wrap_strategy",
        "real_score_fsdp_wrap_strategy", "fake_score_fsdp_wrap_strategy",
        "text_encoder_fsdp_wrap_strategy", "generator_grad", "real_score_grad", "fake_score_grad",
        "num_train_timestep", "real_guidance_scale", "fake_guidance_scale",
        "real_task_type", "fake_task_type", "denoising_loss_type", "mixed_precision", "seed",
        "wandb_host", "wandb_key", "wandb_entity", "wandb_project", "wandb_name",
        "sharding_strategy", "lr", "beta1", "beta2", "data_path", "batch_size", "log_iters",
        "negative_prompt", "dfake_gen_update_ratio", "image_or_video_shape", "output_path",
        "distillation_loss", "gradient_checkpointing", "backward_simulation", "model_type",
        "ode_init_path", "no_visualize", "use_taehv", "use_tensorrt", "fast", "t2v", "step",
    ]

    /// The known key that differs least, if one is near.
    private static func suggestion(for key: String) -> String {
        guard key.utf8.count <= 64 else { return "" }
        let near = streamKeys.map { ($0, editDistance($0, key)) }.min { $0.1 < $1.1 }
        guard let (known, distance) = near, distance <= 3 else { return "" }
        return "; did you mean '\(known)'?"
    }
}
