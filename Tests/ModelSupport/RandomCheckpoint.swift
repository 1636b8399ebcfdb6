import Foundation
import SwanCheckpoints
import SwanModels
import SwanSystem
import SwanText
import Torch
import TorchNN

/// Checkpoints with random weights for every generating model, in the published layouts.
///
/// Networks are as narrow and shallow as possible; their inputs and outputs have the published sizes.
public struct RandomCheckpoint: Sendable {
    /// The published models.
    public enum Model: String, CaseIterable, Sendable {
        case textToVideo = "Wan2.1-T2V"
        case imageToVideo = "Wan2.1-I2V"
        case firstLastFrameToVideo = "Wan2.1-FLF2V"
        case textToVideoExperts = "Wan2.2-T2V-A14B"
        case imageToVideoExperts = "Wan2.2-I2V-A14B"
        case textOrImageToVideo = "Wan2.2-TI2V-5B"
        case controlToVideo = "Wan2.1-VACE"

        /// Whether there are two transformers.
        public var hasExperts: Bool { self == .textToVideoExperts || self == .imageToVideoExperts }
        /// Whether it includes CLIP.
        public var seesImages: Bool { self == .imageToVideo || self == .firstLastFrameToVideo }
        /// Width and height of videos must be multiples of this.
        public var sizeMultiple: Int { self == .textOrImageToVideo ? 32 : 16 }
    }

    /// The layout on disk.
    public enum Layout: String, CaseIterable, Sendable {
        /// The layout of Wan's authors: .pth files, shards, `high_noise_model/` and `low_noise_model/`.
        case original
        /// One folder per part, with other weight names.
        case diffusers
        /// One file per part; the transformer is in float8 with scale factors.
        case comfyUI
    }

    /// The model.
    public let model: Model
    /// The layout.
    public let layout: Layout
    /// The location.
    public let path: String

    /// Writes the checkpoint.
    ///
    /// - Parameter seed: The seed of the weights.
    public init(_ model: Model, _ layout: Layout, at path: String, seed: UInt64 = 1) throws {
        (self.model, self.layout, self.path) = (model, layout, path)
        let transformers = try (0..<(model.hasExperts ? 2 : 1)).map {
            try weights(seed + UInt64($0)) { weights, source throws(SwanError) in
                try Self.build(transformer, weights)
            }
        }
        let vae = try weights(seed) { weights, _ throws(SwanError) in
            _ = try WanVAE(weights, self.vae)
        }
        let spiece = try TinyModel.tokenizer()
        let vocabulary = try Tokenizer(data: spiece, rareText: .bytes).vocabularySize
        let text = Self.textEncoder(vocabulary)
        let t5 = try weights(seed) { weights, _ throws(SwanError) in
            _ = try UMT5Encoder(weights, text)
        }
        var clip: [String: Tensor]?
        if model.seesImages {
            clip = try weights(seed) { weights, source throws(SwanError) in
                _ = try CLIPVision(weights, Self.imageEncoder)
                // The published file contains the last block, although it is not computed.
                try Self.addLastBlock(source)
            }
        }
        switch layout {
        case .original: try writeOriginal(transformers, vae, t5, clip, spiece)
        case .diffusers: try writeDiffusers(transformers, vae, (t5, text), clip, spiece)
        case .comfyUI: try writeComfyUI(transformers, vae, t5, clip, spiece)
        }
        try Self.writeTinyVAE(vae: self.vae, to: file("\(tinyVAE).safetensors"))
    }

    /// The path of a file in the checkpoint.
    public func file(_ name: String) -> String { path + "/" + name }

    /// The name of the tiny autoencoder next to the checkpoint.
    private var tinyVAE: String { model == .textOrImageToVideo ? "taew2_2" : "taew2_1" }

    private func weights(
        _ seed: UInt64,
        _ build: (Weights, MadeWeights) throws(SwanError) -> Void
    ) throws -> [String: Tensor] {
        let source = try MadeWeights.random(seed: seed)
        try build(Weights(source), source)
        return source.tensors
    }
}

// MARK: - Sizes

extension RandomCheckpoint {
    /// The sizes of the transformer. Without a configuration file, heads have 128 channels.
    var transformer: WanConfig {
        var config = WanConfig()
        (config.dim, config.heads) = layout == .comfyUI ? (128, 1) : (48, 2)
        (config.ffnDim, config.layers, config.freqDim, config.textDim) = (64, 2, 32, 16)
        switch model {
        case .textToVideo, .textToVideoExperts: break
        case .imageToVideo, .firstLastFrameToVideo, .imageToVideoExperts: config.inDim = 36
        case .textOrImageToVideo: (config.inDim, config.outDim) = (48, 48)
        case .controlToVideo: (config.vaceLayers, config.vaceInDim) = ([0], 96)
        }
        if model.seesImages { config.imageDim = Self.imageEncoder.dim }
        if model == .firstLastFrameToVideo {
            config.imagePositions = 2 * Self.imageEncoder.tokens
        }
        return config
    }

    /// The sizes of the autoencoder, with the published statistics.
    var vae: WanVAEConfig {
        var config = model == .textOrImageToVideo ? WanVAEConfig.wan22 : .wan21
        (config.baseDim, config.decoderBaseDim, config.numResBlocks) = (4, 4, 1)
        return config
    }

    private static var imageEncoder: CLIPVisionConfig {
        var config = CLIPVisionConfig()
        (config.dim, config.ffnDim, config.heads, config.layers) = (80, 96, 1, 2)
        config.imageSize = 2 * config.patchSize
        return config
    }

    private static func textEncoder(_ vocabulary: Int) -> UMT5Config {
        var config = UMT5Config()
        (config.vocabulary, config.dim, config.headDim, config.ffnDim) = (vocabulary, 16, 8, 24)
        (config.heads, config.layers) = (2, 1)
        return config
    }

    private static func build(_ config: WanConfig, _ weights: Weights) throws(SwanError) {
        if config.vaceLayers == nil {
            _ = try WanTransformer(weights, config)
        } else {
            _ = try WanVACETransformer(weights, config)
        }
    }

    private static func addLastBlock(_ source: MadeWeights) throws(SwanError) {
        for (key, tensor) in source.tensors where key.contains(".transformer.0.") {
            _ = try source.tensor(
                key.replacing(".transformer.0.", with: ".transformer.1."),
                tensor.shape
            )
        }
    }

    private static func writeTinyVAE(vae: WanVAEConfig, to path: String) throws {
        let source = try MadeWeights.random(seed: 9)
        var config = vae.zDim == 48 ? TinyVAEConfig.wan22 : .wan21
        (config.encoderDim, config.decoderDims) = (8, [8, 8, 8, 8])
        _ = try TinyVAE(Weights(source), config)
        try Safetensors.write(source.tensors, to: path)
    }
}

// MARK: - Layouts

extension RandomCheckpoint {
    private static let transformerFile = "diffusion_pytorch_model"

    private func writeOriginal(
        _ transformers: [[String: Tensor]],
        _ vae: [String: Tensor],
        _ t5: [String: Tensor],
        _ clip: [String: Tensor]?,
        _ spiece: Data
    ) throws {
        let folders = model.hasExperts ? ["high_noise_model/", "low_noise_model/"] : [""]
        for (folder, tensors) in zip(folders, transformers) {
            try write(json: originalConfig, folder + "config.json")
            try writeShards(tensors, folder)
        }
        let version = model == .textOrImageToVideo ? "2.2" : "2.1"
        try TorchArchive.write(vae, to: file("Wan\(version)_VAE.pth"))
        try TorchArchive.write(
            t5.mapValues { try $0.to(.bfloat16) },
            to: file("models_t5_umt5-xxl-enc-bf16.pth")
        )
        if let clip {
            let name = "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth"
            try TorchArchive.write(clip, to: file(name))
        }
        try write(spiece, "google/umt5-xxl/spiece.model")
    }

    /// Wan's own config.json, which contains few fields.
    private var originalConfig: [String: Any] {
        let config = transformer
        let type =
            switch model {
            case .imageToVideo, .imageToVideoExperts: "i2v"
            case .firstLastFrameToVideo: "flf2v"
            case .textOrImageToVideo: "ti2v"
            case .controlToVideo: "vace"
            case .textToVideo, .textToVideoExperts: "t2v"
            }
        var values: [String: Any] = [
            "_class_name": "WanModel", "_diffusers_version": "0.30.0", "model_type": type,
            "dim": config.dim, "eps": config.eps, "ffn_dim": config.ffnDim,
            "freq_dim": config.freqDim, "in_dim": config.inDim, "num_heads": config.heads,
            "num_layers": config.layers, "out_dim": config.outDim, "text_len": config.textLen,
        ]
        values["vace_layers"] = config.vaceLayers
        values["vace_in_dim"] = config.vaceInDim
        return values
    }

    /// The transformer in two files with an index.
    private func writeShards(_ tensors: [String: Tensor], _ folder: String) throws {
        let keys = tensors.keys.sorted()
        var map: [String: String] = [:]
        for (number, part) in [keys.prefix(keys.count / 2), keys.dropFirst(keys.count / 2)]
            .enumerated()
        {
            let name = "\(Self.transformerFile)-0000\(number + 1)-of-00002.safetensors"
            for key in part { map[key] = name }
            try Safetensors.write(
                tensors.filter { map[$0.key] == name },
                to: place(folder + name)
            )
        }
        try write(
            json: ["metadata": ["total_size": 0], "weight_map": map],
            folder + Self.transformerFile + ".safetensors.index.json"
        )
    }

    private func writeDiffusers(
        _ transformers: [[String: Tensor]],
        _ vae: [String: Tensor],
        _ t5: (tensors: [String: Tensor], config: UMT5Config),
        _ clip: [String: Tensor]?,
        _ spiece: Data
    ) throws {
        for (folder, tensors) in zip(["transformer/", "transformer_2/"], transformers) {
            try write(json: diffusersConfig, folder + "config.json")
            try save(Self.diffusers(tensors), folder + Self.transformerFile)
        }
        try write(JSONEncoder().encode(self.vae), "vae/config.json")
        try save(Self.diffusers(vae), "vae/" + Self.transformerFile)
        try write(JSONEncoder().encode(t5.config), "text_encoder/config.json")
        try save(Self.diffusers(t5.tensors), "text_encoder/model")
        if let clip {
            try write(JSONEncoder().encode(Self.imageEncoder), "image_encoder/config.json")
            try save(Self.transformersCLIP(clip), "image_encoder/model")
        }
        try write(spiece, "tokenizer/spiece.model")
        var index: [String: Any] = ["_class_name": "WanPipeline"]
        if model.hasExperts { index["boundary_ratio"] = 0.5 }
        try write(json: index, "model_index.json")
        try write(
            json: ["_class_name": "UniPCMultistepScheduler", "flow_shift": 3.0],
            "scheduler/scheduler_config.json"
        )
    }

    private var diffusersConfig: [String: Any] {
        let config = transformer
        var values: [String: Any] = [
            "_class_name": "WanTransformer3DModel", "attention_head_dim": config.headDim,
            "num_attention_heads": config.heads, "num_layers": config.layers,
            "ffn_dim": config.ffnDim, "freq_dim": config.freqDim, "text_dim": config.textDim,
            "in_channels": config.inDim, "out_channels": config.outDim, "eps": config.eps,
            "patch_size": config.patchSize, "cross_attn_norm": true,
            "qk_norm": "rms_norm_across_heads",
        ]
        values["image_dim"] = config.imageDim
        values["added_kv_proj_dim"] = config.imageDim.map { _ in config.dim }
        values["pos_embed_seq_len"] = config.imagePositions
        values["vace_layers"] = config.vaceLayers
        values["vace_in_channels"] = config.vaceInDim
        return values
    }

    private func writeComfyUI(
        _ transformers: [[String: Tensor]],
        _ vae: [String: Tensor],
        _ t5: [String: Tensor],
        _ clip: [String: Tensor]?,
        _ spiece: Data
    ) throws {
        let noises = model.hasExperts ? ["_high_noise", "_low_noise"] : [""]
        for (noise, tensors) in zip(noises, transformers) {
            var stored = try Self.scaled(tensors)
            for key in stored.keys {
                stored["model.diffusion_model." + key] = stored.removeValue(forKey: key)
            }
            try save(stored, "diffusion_models/wan\(noise)_fp8_scaled")
        }
        try save(vae, "vae/wan_vae")
        var text = Self.diffusers(t5)
        text["spiece_model"] = try Tensor([UInt8](spiece), [spiece.count])
        try save(text, "text_encoders/umt5_xxl")
        if let clip { try save(Self.transformersCLIP(clip), "clip_vision/clip_vision_h") }
    }

    /// Converts the matrices of blocks to float8 with a scale factor for each.
    private static func scaled(_ tensors: [String: Tensor]) throws -> [String: Tensor] {
        var stored = tensors
        stored["scaled_fp8"] = try Tensor.zeros([0]).to(.float8e4m3)
        for (key, tensor) in tensors
        where key.hasPrefix("blocks.") && key.hasSuffix(".weight") && tensor.rank == 2 {
            let factor = 0.005
            stored[key] = try (tensor / factor).clamped(min: -448, max: 448).to(.float8e4m3)
            stored[String(key.dropLast("weight".count)) + "scale_weight"] =
                try Tensor([Float(factor)], [1])
        }
        return stored
    }

    private static func diffusers(_ tensors: [String: Tensor]) -> [String: Tensor] {
        guard let names = CheckpointNames(tensors.keys) else { return tensors }
        var named: [String: Tensor] = [:]
        for (key, tensor) in tensors {
            if let name = names.diffusers(key) { named[name] = tensor }
        }
        return named
    }

    private static let clipNames = [
        ("visual.cls_embedding", "embeddings.class_embedding"),
        ("visual.pos_embedding", "embeddings.position_embedding.weight"),
        ("visual.patch_embedding.", "embeddings.patch_embedding."),
        ("visual.pre_norm.", "pre_layrnorm."), ("visual.transformer.", "encoder.layers."),
        (".norm1.", ".layer_norm1."), (".norm2.", ".layer_norm2."), (".mlp.0.", ".mlp.fc1."),
        (".mlp.2.", ".mlp.fc2."), (".attn.proj.", ".self_attn.out_proj."),
        (".attn.to_qkv.", ".self_attn.q_proj."),
    ]

    /// An image encoder with the names and shapes of transformers.
    private static func transformersCLIP(
        _ tensors: [String: Tensor]
    ) throws -> [String: Tensor] {
        var named: [String: Tensor] = [:]
        for (key, tensor) in tensors {
            let name = clipNames.reduce("vision_model." + key) { $0.replacing($1.0, with: $1.1) }
            if name.contains(".q_proj.") {
                for (letter, part) in zip("qkv", try tensor.chunked(3, dim: 0)) {
                    named[name.replacing(".q_proj.", with: ".\(letter)_proj.")] =
                        try part.cloned()
                }
            } else if key == "visual.cls_embedding" {
                named[name] = try tensor.reshaped(-1)
            } else if key == "visual.pos_embedding" {
                named[name] = try tensor.reshaped(tensor.size(1), tensor.size(2))
            } else {
                named[name] = tensor
            }
        }
        return named
    }

    // MARK: - Files

    private func place(_ name: String) throws -> String {
        let url = URL(fileURLWithPath: file(name))
        try FileManager.default.createDirectory(
            at: url.deletingLastPathComponent(),
            withIntermediateDirectories: true
        )
        return url.path
    }

    private func save(_ tensors: [String: Tensor], _ name: String) throws {
        try Safetensors.write(tensors, to: place(name + ".safetensors"))
    }

    private func write(_ data: Data, _ name: String) throws {
        try data.write(to: URL(fileURLWithPath: place(name)))
    }

    private func write(json: [String: Any], _ name: String) throws {
        try write(JSONSerialization.data(withJSONObject: json, options: .sortedKeys), name)
    }
}
