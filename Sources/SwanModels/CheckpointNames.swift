import Torch
import TorchNN

extension WeightSource {
    /// These weights under the names of Wan's own checkpoints, which Swan's models ask for.
    ///
    /// Names of diffusers (transformer, autoencoder) and of transformers (UMT5, CLIP) are told by their
    /// keys and translated; all others stay as they are.
    public func inWanNames() throws(TorchError) -> any WeightSource {
        let keys = Set(keys)
        if keys.contains("condition_embedder.time_proj.weight") {
            return try RenamedWeights(self, DiffusersTransformerNames.original)
        }
        if keys.contains("decoder.conv_in.weight"), keys.contains("decoder.norm_out.gamma") {
            return try RenamedWeights(self, DiffusersVAENames(keys).original)
        }
        if keys.contains("encoder.block.0.layer.0.SelfAttention.q.weight") {
            let hasShared = keys.contains("shared.weight")
            return try RenamedWeights(self) { TransformersT5Names.original($0, hasShared) }
        }
        for prefix in ["vision_model.", ""] where keys.contains(prefix + "pre_layrnorm.weight") {
            return try TransformersCLIPWeights(self, prefix: prefix)
        }
        return self
    }
}

/// diffusers' `WanTransformer3DModel` (its scripts/convert_wan_to_diffusers.py, the other way).
private enum DiffusersTransformerNames {
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

    static func original(_ key: String) -> String? {
        let parts = key.split(separator: ".", maxSplits: 2)
        guard parts.count == 3, parts[0] == "blocks" || parts[0] == "vace_blocks" else {
            return renamed(key[...], root)
        }
        let path = "\(parts[0]).\(parts[1])."
        for (theirs, ours) in [("attn1.", "self_attn."), ("attn2.", "cross_attn.")]
        where parts[2].hasPrefix(theirs) {
            return path + ours + renamed(parts[2].dropFirst(theirs.count), attention)
        }
        return path + renamed(parts[2], block)
    }
}

/// diffusers' `AutoencoderKLWan`, of Wan 2.1 (a flat list of layers) and of 2.2 (a list for each level).
private struct DiffusersVAENames {
    /// Residual blocks of a level of the encoder; the decoder has one more.
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

    init(_ keys: Set<String>) {
        var last = 0
        while keys.contains("decoder.up_blocks.0.resnets.\(last + 1).conv1.weight") { last += 1 }
        blocks = last
        isNested = keys.contains("encoder.down_blocks.0.resnets.0.conv1.weight")
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
            guard let level = Int(level), parts[4].hasPrefix("0.") else { return key }
            return "\(side).upsamples.\(level * (blocks + 2) + blocks + 1).\(parts[4].dropFirst(2))"
        default: return renamed(key[...], Self.root)
        }
    }

    /// A residual block in the list of its level; `rest` begins with its number there.
    private func nested(
        _ side: Substring,
        _ list: String,
        _ level: Substring,
        _ rest: Substring
    ) -> String {
        let (index, rest) = split(rest)
        return "\(side).\(list).\(level).\(list).\(index).\(renamed(rest, Self.block))"
    }

    /// A residual block of the decoder in the one list of all levels.
    private func flat(_ side: Substring, _ level: Substring, _ rest: Substring) -> String {
        let (index, rest) = split(rest)
        let position = (Int(level) ?? 0) * (blocks + 2) + (Int(index) ?? 0)
        return "\(side).upsamples.\(position).\(renamed(rest, Self.block))"
    }

    private func split(_ rest: Substring) -> (Substring, Substring) {
        let end = rest.firstIndex(of: ".") ?? rest.endIndex
        return (rest[..<end], rest[end...].dropFirst())
    }
}

/// transformers' `UMT5EncoderModel`, or the encoder's part of the whole `UMT5Model`.
private enum TransformersT5Names {
    private static let layers: [(String, String)] = [
        ("0.SelfAttention.relative_attention_bias.", "pos_embedding.embedding."),
        ("0.SelfAttention.", "attn."),
        ("0.layer_norm.", "norm1."),
        ("1.layer_norm.", "norm2."),
        ("1.DenseReluDense.wi_0.", "ffn.gate.0."),
        ("1.DenseReluDense.wi_1.", "ffn.fc1."),
        ("1.DenseReluDense.wo.", "ffn.fc2."),
    ]

    /// - Parameter hasShared: whether the embeddings are there as `shared`, which a second copy repeats.
    static func original(_ key: String, _ hasShared: Bool) -> String? {
        switch key {
        case "shared.weight": return "token_embedding.weight"
        case "encoder.embed_tokens.weight": return hasShared ? nil : "token_embedding.weight"
        case "encoder.final_layer_norm.weight": return "norm.weight"
        case _ where key.hasPrefix("decoder.") || key.hasPrefix("lm_head."): return nil
        default: break
        }
        let parts = key.split(separator: ".", maxSplits: 4)
        guard parts.count == 5, parts[1] == "block", parts[3] == "layer" else { return key }
        return "blocks.\(parts[2]).\(renamed(parts[4], layers))"
    }
}

/// The name with the first of the prefixes that it has exchanged.
func renamed(_ name: Substring, _ prefixes: [(String, String)]) -> String {
    for (theirs, ours) in prefixes where name.hasPrefix(theirs) {
        return ours + name.dropFirst(theirs.count)
    }
    return String(name)
}
