import Foundation
import SwanSystem
import SwanModels
import TorchNN

/// The sizes of a part of a model, for the `config.json` of either layout.
enum PartConfiguration {
    case transformer(WanConfig)
    case vae(WanVAEConfig)
    case textEncoder(UMT5Config)

    /// Reads the sizes from the weights and, where these do not determine them, from a `config.json`.
    ///
    /// - Parameters:
    ///   - part: The part.
    ///   - file: The path of the weights.
    ///   - config: The path of a `config.json`; ignored if it belongs to another part.
    ///   - source: The weights in Wan's names.
    init(
        _ part: CheckpointNames.Part,
        _ file: String,
        config: String?,
        _ source: any WeightSource
    ) throws {
        func files(_ mark: String) throws -> ModelFolder.Files {
            let isOwn = try config.map { try Self.has(mark, $0) } ?? false
            return ModelFolder.Files(data: file, config: isOwn ? config : nil)
        }
        switch part {
        case .transformer:
            self = .transformer(try WanConfig.read(files("num_layers"), fittedTo: source))
        case .vae:
            self = .vae(try WanVAEConfig.read(files("z_dim"), fittedTo: source))
        case .textEncoder:
            self = .textEncoder(try UMT5Config.read(files("d_model"), fittedTo: source))
        }
    }

    private static func has(_ field: String, _ path: String) throws -> Bool {
        do {
            return try fields(SmallFile.data(path))?[field] != nil
        } catch let error as SwanError {
            throw error.as(.invalidModel)
        } catch {
            throw SwanError(
                .invalidModel,
                "\(path): cannot read the configuration: \(error)",
                cause: error
            )
        }
    }

    private static func fields(_ json: Data) throws -> [String: Any]? {
        try JSONSerialization.jsonObject(with: json) as? [String: Any]
    }

    // MARK: - Writing

    /// The version of diffusers that these fields correspond to.
    private static let diffusersVersion = "0.42.1"

    /// The `config.json` for a naming scheme; nil if its layout has none, which implies the published sizes.
    func json(_ naming: CheckpointNames.Naming) throws -> Data? {
        let values: [String: Any]
        switch (self, naming) {
        case (.transformer(let config), .original):
            var fields = try Self.encoded(config)
            fields["_class_name"] = config.vaceLayers == nil ? "WanModel" : "VaceWanModel"
            fields["_diffusers_version"] = Self.diffusersVersion
            fields["model_type"] = Self.modelType(config)
            values = fields
        case (.transformer(let config), .diffusers):
            values = Self.diffusers(config)
        case (.vae(let config), .original):
            guard config != .wan21, config != .wan22 else { return nil }
            values = try Self.values(of: config)
        case (.vae(let config), .diffusers):
            guard !config.subpixelUpsample else {
                throw SwanError(
                    .invalidModel,
                    "the autoencoder upsamples by sub-pixel convolutions, which diffusers' "
                        + "AutoencoderKLWan does not support; convert it to Wan's own names instead"
                )
            }
            var fields = try Self.values(of: config)
            fields["_class_name"] = "AutoencoderKLWan"
            fields["_diffusers_version"] = Self.diffusersVersion
            fields["dropout"] = 0.0
            fields["patch_size"] = config.patchSize == 1 ? NSNull() : config.patchSize
            fields["scale_factor_spatial"] = config.spatialStride
            fields["scale_factor_temporal"] = config.temporalStride
            values = fields
        case (.textEncoder(let config), .original):
            guard config != .xxl else { return nil }
            values = try Self.encoded(config)
        case (.textEncoder(let config), .diffusers):
            values = try Self.transformers(config)
        }
        let options: JSONSerialization.WritingOptions = [
            .prettyPrinted, .sortedKeys, .withoutEscapingSlashes,
        ]
        return try JSONSerialization.data(withJSONObject: values, options: options)
            + Data("\n".utf8)
    }

    /// The fields, without Swan's own `subpixel_upsample` if it has the default value.
    private static func values(of config: WanVAEConfig) throws -> [String: Any] {
        var fields = try encoded(config)
        if !config.subpixelUpsample { fields["subpixel_upsample"] = nil }
        return fields
    }

    private static func encoded(_ config: some Encodable) throws -> [String: Any] {
        try fields(JSONEncoder().encode(config)) ?? [:]
    }

    /// Wan's `model_type` for a transformer.
    private static func modelType(_ config: WanConfig) -> String {
        if config.vaceLayers != nil { return "vace" }
        if config.inDim == config.outDim { return config.inDim == 48 ? "ti2v" : "t2v" }
        return config.imagePositions == nil ? "i2v" : "flf2v"
    }

    private static func diffusers(_ config: WanConfig) -> [String: Any] {
        var fields: [String: Any] = [
            "_class_name": "WanTransformer3DModel",
            "_diffusers_version": diffusersVersion,
            "added_kv_proj_dim": config.imageDim == nil ? NSNull() : config.dim,
            "attention_head_dim": config.headDim,
            "cross_attn_norm": config.crossAttnNorm,
            "eps": config.eps,
            "ffn_dim": config.ffnDim,
            "freq_dim": config.freqDim,
            "image_dim": config.imageDim ?? NSNull(),
            "in_channels": config.inDim,
            "num_attention_heads": config.heads,
            "num_layers": config.layers,
            "out_channels": config.outDim,
            "patch_size": config.patchSize,
            "pos_embed_seq_len": config.imagePositions ?? NSNull(),
            "qk_norm": config.qkNorm ? "rms_norm_across_heads" : NSNull(),
            "rope_max_seq_len": 1_024,
            "text_dim": config.textDim,
        ]
        if let layers = config.vaceLayers {
            fields["_class_name"] = "WanVACETransformer3DModel"
            fields["vace_layers"] = layers
            fields["vace_in_channels"] = config.vaceInDim
        }
        return fields
    }

    /// Integral values are written without a decimal point, which transformers rejects in floating-point
    /// fields, so fields that have transformers' default values are left out.
    private static func transformers(_ config: UMT5Config) throws -> [String: Any] {
        let fields: [String: Any] = [
            "architectures": ["UMT5EncoderModel"],
            "decoder_start_token_id": 0,
            "dense_act_fn": "gelu_new",
            "dropout_rate": 0.1,
            "eos_token_id": 1,
            "feed_forward_proj": "gated-gelu",
            "is_encoder_decoder": true,
            "is_gated_act": true,
            "model_type": "umt5",
            "num_decoder_layers": config.layers,
            "pad_token_id": 0,
            "scalable_attention": true,
            "tie_word_embeddings": true,
            "tokenizer_class": "T5Tokenizer",
            "use_cache": true,
        ]
        return try fields.merging(encoded(config)) { $1 }
    }
}
