import Torch
public import TorchNN

/// The kind of model that a weight file contains.
public enum CheckpointKind: String, Sendable, CaseIterable {
    case transformer
    case vae
    /// TAEHV, a small autoencoder that decodes in a fraction of the time.
    case tinyVAE = "tiny_vae"
    case textEncoder = "text_encoder"
    case imageEncoder = "image_encoder"
    case lora
}

extension WeightSource {
    /// The kind of model, detected from the keys; nil if Swan does not know it.
    public var kind: CheckpointKind? {
        let keys = keys
        func has(_ candidates: String...) -> Bool { keys.contains { candidates.contains($0) } }
        if has("patch_embedding.weight"), has("head.modulation", "scale_shift_table") {
            return .transformer
        }
        if has("decoder.conv1.weight", "decoder.conv_in.weight") { return .vae }
        let tables = [
            "token_embedding.weight", "shared.weight", "encoder.embed_tokens.weight",
            "token_embd.weight",
        ]
        if keys.contains(where: tables.contains) {
            return Self.isUMT5(keys) ? .textEncoder : nil
        }
        if has("visual.cls_embedding", "vision_model.embeddings.class_embedding") {
            return .imageEncoder
        }
        if has("decoder.1.weight"), has("encoder.0.weight") { return .tinyVAE }
        let parts = [".lora_A.", ".lora_down.", ".lora_B.", ".lora_up."]
        return keys.contains { key in parts.contains(where: key.contains) } ? .lora : nil
    }

    /// Whether these are UMT5's keys: unlike other T5 encoders, it has relative position
    /// biases in every block.
    private static func isUMT5(_ keys: [String]) -> Bool {
        let second = keys.filter {
            ["blocks.1.", "encoder.block.1.", "enc.blk.1."].contains(where: $0.hasPrefix)
        }
        let distances = ["pos_embedding", "relative_attention_bias", "attn_rel_b"]
        return second.isEmpty || second.contains { distances.contains(where: $0.contains) }
    }
}
