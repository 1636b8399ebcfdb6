import SwanSystem
import Torch

extension StreamConfiguration: Codable {
    private enum CodingKeys: String, CodingKey, CaseIterable {
        case steps = "denoising_step_list", shift = "timestep_shift"
        case warpsSteps = "warp_denoising_step", framesPerBlock = "num_frame_per_block"
        case cacheFrames = "num_kv_cache", sinkFrames = "num_sink_tokens"
        case sinkThreshold = "adapt_sink_threshold", contextNoise = "context_noise"
        case shotFrames = "shot_frames", runsZeroStep = "zero_step", noiseScale = "noise_scale"
        case noise, repeatsFirstFrame = "repeat_first_frame", stillFrames = "still_frames"
        case timestepOffset = "timestep_offset", normalizesLatents = "normalize_latents"
        case height, width, fps
        case cpuType = "cpu_dtype", styles = "looks"
    }

    /// Decodes the keys that are present; others keep their defaults. An unknown key is an error.
    public init(from decoder: any Decoder) throws {
        self.init()
        let values = try decoder.container(keyedBy: AnyCodingKey.self)
        for name in values.allKeys {
            if let key = CodingKeys(rawValue: name.stringValue) {
                try decode(key, Field(values, name))
            } else {
                try Self.check(name.stringValue, Field(values, name))
            }
        }
        do {
            try check()
        } catch {
            throw DecodingError.dataCorrupted(
                .init(codingPath: decoder.codingPath, debugDescription: error.message)
            )
        }
    }

    /// One value in the file.
    private struct Field {
        let values: KeyedDecodingContainer<AnyCodingKey>
        let name: AnyCodingKey

        init(_ values: KeyedDecodingContainer<AnyCodingKey>, _ name: AnyCodingKey) {
            self.values = values
            self.name = name
        }

        func value<Value: Decodable>(
            _ kind: String,
            of type: Value.Type = Value.self
        ) throws -> Value {
            do {
                return try values.decode(type, forKey: name)
            } catch is DecodingError {
                throw invalid("'\(name.stringValue)' must be \(kind)")
            }
        }

        func invalid(_ message: String) -> DecodingError {
            .dataCorruptedError(forKey: name, in: values, debugDescription: message)
        }
    }

    private mutating func decode(_ key: CodingKeys, _ field: Field) throws {
        let (whole, number, truth) = ("an integer", "a number", "true or false")
        switch key {
        case .steps:
            steps = try field.value("a list of integer timesteps")
            if steps.last == 0 { steps.removeLast() }
        case .shift: shift = try field.value(number)
        case .warpsSteps: warpsSteps = try field.value(truth)
        case .framesPerBlock: framesPerBlock = try field.value(whole)
        case .cacheFrames: cacheFrames = try field.value(whole)
        case .sinkFrames: sinkFrames = try field.value(whole)
        case .sinkThreshold: sinkThreshold = try field.value(number)
        case .contextNoise: contextNoise = try field.value(whole, of: Int.self)
        case .shotFrames: shotFrames = try field.value(whole, of: Int.self)
        case .runsZeroStep: runsZeroStep = try field.value(truth)
        case .noiseScale: noiseScale = try field.value(number)
        case .noise: noise = try field.value("fresh, fixed or none")
        case .repeatsFirstFrame: repeatsFirstFrame = try field.value(truth)
        case .stillFrames: stillFrames = try field.value(whole, of: Int.self)
        case .timestepOffset: timestepOffset = try field.value(whole)
        case .normalizesLatents: normalizesLatents = try field.value(truth)
        case .height: height = try field.value(whole, of: Int.self)
        case .width: width = try field.value(whole, of: Int.self)
        case .fps: fps = try field.value(number, of: Double.self)
        case .cpuType:
            let types = [DType.float32, .bfloat16, .float16]
            let kind = "float32, bfloat16 or float16"
            let text = try field.value(kind, of: String.self)
            guard let type = types.first(where: { "\($0)" == text }) else {
                throw field.invalid("'\(key.rawValue)' must be \(kind)")
            }
            cpuType = type
        case .styles: styles = try field.values.decode(KnownStyles.self, forKey: field.name)
        }
    }

    /// Throws if neither Swan nor StreamDiffusionV2 has the key, or if its value shows that the file is for
    /// another kind of model.
    private static func check(_ key: String, _ field: Field) throws {
        if let known = kinds[key] {
            let text = try? field.value("text", of: String.self)
            guard let text, known.contains(text) else {
                throw field.invalid(
                    "'\(key)' is '\(text?.printable() ?? "not text")', so this file is for another kind "
                        + "of model; Swan streams causal Wan models (\(known.joined(separator: ", ")))"
                )
            }
        } else if !trainingKeys.contains(key) {
            let known = CodingKeys.allCases.map(\.rawValue)
            throw field.invalid(
                "unknown key '\(key.printable())'\(suggestion(for: key, in: known))"
            )
        }
    }

    /// Encodes all keys that are set. The steps include the final 0.
    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(steps.last == 0 ? steps : steps + [0], forKey: .steps)
        try values.encode(shift, forKey: .shift)
        try values.encode(warpsSteps, forKey: .warpsSteps)
        try values.encode(framesPerBlock, forKey: .framesPerBlock)
        try values.encode(cacheFrames, forKey: .cacheFrames)
        try values.encode(sinkFrames, forKey: .sinkFrames)
        try values.encode(sinkThreshold, forKey: .sinkThreshold)
        try values.encodeIfPresent(contextNoise, forKey: .contextNoise)
        try values.encodeIfPresent(shotFrames, forKey: .shotFrames)
        if runsZeroStep { try values.encode(true, forKey: .runsZeroStep) }
        try values.encode(noiseScale, forKey: .noiseScale)
        if noise != .fresh { try values.encode(noise, forKey: .noise) }
        if repeatsFirstFrame { try values.encode(true, forKey: .repeatsFirstFrame) }
        try values.encodeIfPresent(stillFrames, forKey: .stillFrames)
        if timestepOffset != Self().timestepOffset {
            try values.encode(timestepOffset, forKey: .timestepOffset)
        }
        try values.encode(normalizesLatents, forKey: .normalizesLatents)
        try values.encodeIfPresent(height, forKey: .height)
        try values.encodeIfPresent(width, forKey: .width)
        if let fps, let whole = Int(exactly: fps) {
            try values.encode(whole, forKey: .fps)
        } else {
            try values.encodeIfPresent(fps, forKey: .fps)
        }
        try values.encodeIfPresent(cpuType.map { "\($0)" }, forKey: .cpuType)
        try values.encodeIfPresent(styles, forKey: .styles)
    }

    /// The keys whose value is the kind of model that a file is for, and the values that Swan accepts.
    private static let kinds = [
        "model_name": ["wan", "causal_wan"], "generator_name": ["wan", "causal_wan"],
        "generator_task": ["causal_video"],
    ]

    /// All keys that a file may have, also those without effect.
    package static var keys: Set<String> {
        trainingKeys.union(CodingKeys.allCases.map(\.rawValue)).union(kinds.keys)
    }

    /// Further keys of StreamDiffusionV2's files, used in its training, which Swan ignores.
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
}
