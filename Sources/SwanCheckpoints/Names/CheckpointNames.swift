public import SwanSystem
import Torch
public import TorchNN

extension WeightSource {
    /// Returns these weights under the names of Wan's own checkpoints, which Swan's models use.
    ///
    /// The names of diffusers (transformer, autoencoder) and of transformers (UMT5, CLIP) are detected from
    /// the keys and translated; all others stay as they are. The scale factors of quantized weights are
    /// applied (`ScaledWeights`).
    public func inWanNames() throws(SwanError) -> any WeightSource {
        if let scaled = try ScaledWeights(self) { return try scaled.inWanNames() }
        for prefix in ["vision_model.", ""] where keys.contains(prefix + "pre_layrnorm.weight") {
            return try TransformersCLIPWeights(self, prefix: prefix)
        }
        guard let names = CheckpointNames(keys), names.naming == .diffusers else { return self }
        return try RenamedWeights(self, names.original)
    }
}

/// The part of a model that a checkpoint contains, its naming scheme, and its keys' names in other schemes.
public struct CheckpointNames: Sendable {
    /// A part whose names are known in both naming schemes.
    public enum Part: String, Sendable {
        case transformer
        case vae
        case textEncoder = "text_encoder"
    }

    /// A naming scheme.
    public enum Naming: String, Sendable, CaseIterable {
        /// Wan's own checkpoints.
        case original
        /// diffusers and, for the text encoder, transformers.
        case diffusers
    }

    /// The part that the checkpoint contains.
    public let part: Part
    /// The checkpoint's naming scheme.
    public let naming: Naming
    private let translation: any NameTranslation

    /// Detects the part and the naming scheme from a checkpoint's keys; returns nil if they are not known.
    public init?(_ keys: some Sequence<String>) {
        let keys = Set(keys)
        if keys.contains("condition_embedder.time_proj.weight") {
            self.init(.transformer, .diffusers, DiffusersTransformerNames())
        } else if keys.contains("time_projection.1.weight") {
            self.init(.transformer, .original, DiffusersTransformerNames())
        } else if keys.contains("decoder.conv_in.weight"), keys.contains("decoder.norm_out.gamma") {
            self.init(.vae, .diffusers, DiffusersVAENames(diffusers: keys))
        } else if keys.contains("decoder.head.0.gamma") {
            self.init(.vae, .original, DiffusersVAENames(original: keys))
        } else if keys.contains("encoder.block.0.layer.0.SelfAttention.q.weight") {
            self.init(.textEncoder, .diffusers, TransformersT5Names(keys))
        } else if keys.contains("blocks.0.pos_embedding.embedding.weight") {
            self.init(.textEncoder, .original, TransformersT5Names(keys))
        } else if keys.contains("enc.blk.0.attn_q.weight") {
            self.init(.textEncoder, .diffusers, LlamaT5Names())
        } else {
            return nil
        }
    }

    private init(_ part: Part, _ naming: Naming, _ translation: any NameTranslation) {
        self.part = part
        self.naming = naming
        self.translation = translation
    }

    /// Returns Wan's name for a key of this checkpoint; nil for a key that duplicates another or is
    /// not a weight.
    public func original(_ key: String) -> String? {
        naming == .original ? key : translation.original(key)
    }

    /// Returns the name in diffusers or transformers for a key of this checkpoint; nil as for `original`.
    public func diffusers(_ key: String) -> String? {
        original(key).map { translation.translated($0) }
    }

    /// Returns the name of a key of this checkpoint in a naming scheme.
    public func name(_ key: String, in naming: Naming) -> String? {
        naming == .original ? original(key) : diffusers(key)
    }
}

/// A translation between another project's names and Wan's own.
protocol NameTranslation: Sendable {
    /// Wan's name for a key of the other project; nil for a key that is left out.
    func original(_ key: String) -> String?
    /// The other project's name for a key of Wan's.
    func translated(_ key: String) -> String
}

/// The names of the transformer's modules, as used in LoRAs.
enum TransformerModuleNames {
    /// Wan's name of a module (a path without `weight`), given diffusers' or Wan's name.
    static func original(_ module: String) -> String {
        let name = DiffusersTransformerNames().name(module + ".")
        return String(name.dropLast())
    }

    /// diffusers' name of a module, given Wan's name.
    static func diffusers(_ module: String) -> String {
        String(DiffusersTransformerNames().translated(module + ".").dropLast())
    }
}

/// diffusers' `WanTransformer3DModel` (the reverse of its scripts/convert_wan_to_diffusers.py).
private struct DiffusersTransformerNames: NameTranslation {
    private static let root: [(String, String)] = [
        ("condition_embedder.time_embedder.linear_1.", "time_embedding.0."),
        ("condition_embedder.time_embedder.linear_2.", "time_embedding.2."),
        ("condition_embedder.text_embedder.linear_1.", "text_embedding.0."),
        ("condition_embedder.text_embedder.linear_2.", "text_embedding.2."),
        ("condition_embedder.time_proj.", "time_projection.1."),
        ("condition_embedder.image_embedder.norm1.", "img_emb.proj.0."),
        ("condition_embedder.image_embedder.ff.net.0.proj.", "img_emb.proj.1."),
        ("condition_embedder.image_embedder.ff.net.2.", "img_emb.proj.3."),
        ("condition_embedder.image_embedder.norm2.", "img_emb.proj.4."),
        ("condition_embedder.image_embedder.pos_embed", "img_emb.emb_pos"),
        ("scale_shift_table", "head.modulation"),
        ("proj_out.", "head.head."),
    ]
    private static let block: [(String, String)] = [
        ("scale_shift_table", "modulation"),
        ("ffn.net.0.proj.", "ffn.0."),
        ("ffn.net.2.", "ffn.2."),
        ("norm2.", "norm3."),
        ("proj_in.", "before_proj."),
        ("proj_out.", "after_proj."),
    ]
    private static let attention: [(String, String)] = [
        ("to_q.", "q."), ("to_k.", "k."), ("to_v.", "v."), ("to_out.0.", "o."),
        ("add_k_proj.", "k_img."), ("add_v_proj.", "v_img."), ("norm_added_k.", "norm_k_img."),
    ]

    private static let attentions = [("attn1.", "self_attn."), ("attn2.", "cross_attn.")]

    /// diffusers' published image-to-video checkpoints have a query norm that no network uses.
    func original(_ key: String) -> String? { key.contains(".norm_added_q.") ? nil : name(key) }

    func name(_ key: String) -> String {
        guard let (path, rest) = Self.split(key) else { return renamed(key[...], Self.root) }
        for (diffusers, original) in Self.attentions where rest.hasPrefix(diffusers) {
            return path + original + renamed(rest.dropFirst(diffusers.count), Self.attention)
        }
        return path + renamed(rest, Self.block)
    }

    func translated(_ key: String) -> String {
        guard let (path, rest) = Self.split(key) else {
            return renamed(key[...], Self.root.map { ($1, $0) })
        }
        for (diffusers, original) in Self.attentions where rest.hasPrefix(original) {
            let name = renamed(rest.dropFirst(original.count), Self.attention.map { ($1, $0) })
            return path + diffusers + name
        }
        return path + renamed(rest, Self.block.map { ($1, $0) })
    }

    /// Splits a key into the path of its block, with a trailing dot, and the rest; nil for keys
    /// outside of blocks.
    private static func split(_ key: String) -> (path: String, rest: Substring)? {
        let parts = key.split(separator: ".", maxSplits: 2)
        guard parts.count == 3, parts[0] == "blocks" || parts[0] == "vace_blocks" else {
            return nil
        }
        return ("\(parts[0]).\(parts[1]).", parts[2])
    }
}

/// diffusers' `AutoencoderKLWan`, for Wan 2.1 (a flat list of layers) and 2.2 (a list per level).
private struct DiffusersVAENames: NameTranslation {
    /// The number of residual blocks per level of the encoder; the decoder has one more.
    private let blocks: Int
    private let isNested: Bool

    private static let block: [(String, String)] = [
        ("norm1.", "residual.0."), ("conv1.", "residual.2."), ("norm2.", "residual.3."),
        ("conv2.", "residual.6."), ("conv_shortcut.", "shortcut."),
    ]
    private static let root: [(String, String)] = [
        ("quant_conv.", "conv1."), ("post_quant_conv.", "conv2."),
        ("encoder.conv_in.", "encoder.conv1."), ("decoder.conv_in.", "decoder.conv1."),
        ("encoder.norm_out.", "encoder.head.0."), ("decoder.norm_out.", "decoder.head.0."),
        ("encoder.conv_out.", "encoder.head.2."), ("decoder.conv_out.", "decoder.head.2."),
    ]

    init(diffusers keys: Set<String>) {
        blocks = Self.count { keys.contains("decoder.up_blocks.0.resnets.\($0).conv1.weight") } - 1
        isNested = keys.contains("encoder.down_blocks.0.resnets.0.conv1.weight")
    }

    init(original keys: Set<String>) {
        let nested = keys.contains("decoder.upsamples.0.upsamples.0.residual.2.weight")
        let level = nested ? "decoder.upsamples.0.upsamples" : "decoder.upsamples"
        blocks = Self.count { keys.contains("\(level).\($0).residual.2.weight") } - 1
        isNested = nested
    }

    /// The number of consecutive indices from 0 for which `has` returns true.
    private static func count(_ has: (Int) -> Bool) -> Int {
        NumberLimits.layers.first { !has($0 - 1) }.map { $0 - 1 } ?? NumberLimits.layers.upperBound
    }

    func original(_ key: String) -> String? {
        let parts = key.split(separator: ".", maxSplits: 4)
        guard parts.count == 5 else { return renamed(key[...], Self.root) }
        let side = parts[0]
        switch (parts[1], parts[2], parts[3]) {
        case ("mid_block", "attentions", _): return "\(side).middle.1.\(parts[4])"
        case ("mid_block", "resnets", let index):
            return "\(side).middle.\(index == "0" ? 0 : 2).\(renamed(parts[4], Self.block))"
        case ("down_blocks", let level, _) where !isNested:
            let rest = key.dropFirst("\(side).down_blocks.\(level).".count)
            return "\(side).downsamples.\(level).\(renamed(rest, Self.block))"
        case ("down_blocks", let level, "resnets"):
            return nested(side, "downsamples", level, parts[4])
        case ("down_blocks", let level, "downsampler"):
            return "\(side).downsamples.\(level).downsamples.\(blocks).\(parts[4])"
        case ("up_blocks", let level, "resnets"):
            return isNested
                ? nested(side, "upsamples", level, parts[4]) : flat(side, level, parts[4])
        case ("up_blocks", let level, "upsampler"):
            return "\(side).upsamples.\(level).upsamples.\(blocks + 1).\(parts[4])"
        case ("up_blocks", let level, "upsamplers"):
            guard let level = NumberLimits.layer(level), parts[4].hasPrefix("0.") else {
                return key
            }
            return "\(side).upsamples.\(level * (blocks + 2) + blocks + 1).\(parts[4].dropFirst(2))"
        default: return renamed(key[...], Self.root)
        }
    }

    /// A residual block in the list of its level; `rest` begins with its index in that list.
    private func nested(
        _ side: Substring,
        _ list: String,
        _ level: Substring,
        _ rest: Substring
    ) -> String {
        let (index, rest) = split(rest)
        return "\(side).\(list).\(level).\(list).\(index).\(renamed(rest, Self.block))"
    }

    /// A residual block of the decoder in the flat list of all levels.
    private func flat(_ side: Substring, _ level: Substring, _ rest: Substring) -> String {
        let (index, inner) = split(rest)
        guard let level = NumberLimits.layer(level), let index = NumberLimits.layer(index) else {
            return "\(side).up_blocks.\(level).resnets.\(rest)"
        }
        let position = level * (blocks + 2) + index
        return "\(side).upsamples.\(position).\(renamed(inner, Self.block))"
    }

    private func split(_ rest: Substring) -> (Substring, Substring) {
        let end = rest.firstIndex(of: ".") ?? rest.endIndex
        return (rest[..<end], rest[end...].dropFirst())
    }

    func translated(_ key: String) -> String {
        let root = Self.root.map { ($1, $0) }
        let block = Self.block.map { ($1, $0) }
        let parts = key.split(separator: ".", maxSplits: 3)
        guard parts.count == 4, let number = NumberLimits.layer(parts[2]) else {
            return renamed(key[...], root)
        }
        let side = parts[0]
        let rest = key.dropFirst(parts[..<3].joined(separator: ".").count + 1)
        switch parts[1] {
        case "middle" where number == 1: return "\(side).mid_block.attentions.0.\(rest)"
        case "middle":
            return "\(side).mid_block.resnets.\(number / 2).\(renamed(rest, block))"
        case "downsamples" where !isNested:
            return "\(side).down_blocks.\(number).\(renamed(rest, block))"
        case "upsamples" where !isNested:
            let (level, index) = number.quotientAndRemainder(dividingBy: blocks + 2)
            return index > blocks
                ? "\(side).up_blocks.\(level).upsamplers.0.\(rest)"
                : "\(side).up_blocks.\(level).resnets.\(index).\(renamed(rest, block))"
        case "downsamples", "upsamples":
            let isDown = parts[1] == "downsamples"
            let (index, inner) = split(rest.dropFirst(parts[1].count + 1))
            let level = "\(side).\(isDown ? "down" : "up")_blocks.\(number)"
            let isLast = NumberLimits.layer(index) == (isDown ? blocks : blocks + 1)
            return isLast
                ? "\(level).\(isDown ? "downsampler" : "upsampler").\(inner)"
                : "\(level).resnets.\(index).\(renamed(inner, block))"
        default: return renamed(key[...], root)
        }
    }
}

/// transformers' `UMT5EncoderModel`, or the encoder of a complete `UMT5Model`.
struct TransformersT5Names: NameTranslation {
    /// Whether the embeddings are stored as `shared`, so that `encoder.embed_tokens` is a duplicate.
    private let hasShared: Bool

    private static let layers: [(String, String)] = [
        ("0.SelfAttention.relative_attention_bias.", "pos_embedding.embedding."),
        ("0.SelfAttention.", "attn."),
        ("0.layer_norm.", "norm1."),
        ("1.layer_norm.", "norm2."),
        ("1.DenseReluDense.wi_0.", "ffn.gate.0."),
        ("1.DenseReluDense.wi_1.", "ffn.fc1."),
        ("1.DenseReluDense.wo.", "ffn.fc2."),
    ]

    init(_ keys: Set<String>) { hasShared = keys.contains("shared.weight") }

    func original(_ key: String) -> String? {
        switch key {
        case "shared.weight": return "token_embedding.weight"
        case "encoder.embed_tokens.weight": return hasShared ? nil : "token_embedding.weight"
        case "encoder.final_layer_norm.weight": return "norm.weight"
        // ComfyUI stores the tokenizer's model among the weights.
        case "spiece_model": return nil
        case _ where key.hasPrefix("decoder.") || key.hasPrefix("lm_head."): return nil
        default: break
        }
        let parts = key.split(separator: ".", maxSplits: 4)
        guard parts.count == 5, parts[1] == "block", parts[3] == "layer" else { return key }
        return "blocks.\(parts[2]).\(renamed(parts[4], Self.layers))"
    }

    func translated(_ key: String) -> String {
        switch key {
        case "token_embedding.weight": return "shared.weight"
        case "norm.weight": return "encoder.final_layer_norm.weight"
        default: break
        }
        let parts = key.split(separator: ".", maxSplits: 2)
        guard parts.count == 3, parts[0] == "blocks" else { return key }
        let rest = renamed(parts[2], Self.layers.map { ($1, $0) })
        return "encoder.block.\(parts[1]).layer.\(rest)"
    }
}

/// Returns the name with the first matching prefix replaced.
func renamed(_ name: Substring, _ prefixes: [(from: String, to: String)]) -> String {
    for (from, to) in prefixes where name.hasPrefix(from) {
        return to + name.dropFirst(from.count)
    }
    return String(name)
}
