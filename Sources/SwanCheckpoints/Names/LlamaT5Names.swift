/// The names of T5 encoders in GGUF files, as llama.cpp's converter writes them.
///
/// Source: gguf-py/gguf/tensor_mapping.py (MODEL_TENSOR.ENC_…).
struct LlamaT5Names: NameTranslation {
    private static let block: [(String, String)] = [
        ("attn_rel_b.", "pos_embedding.embedding."), ("attn_norm.", "norm1."),
        ("attn_q.", "attn.q."), ("attn_k.", "attn.k."), ("attn_v.", "attn.v."),
        ("attn_o.", "attn.o."), ("ffn_norm.", "norm2."), ("ffn_gate.", "ffn.gate.0."),
        ("ffn_up.", "ffn.fc1."), ("ffn_down.", "ffn.fc2."),
    ]

    func original(_ key: String) -> String? {
        switch key {
        case "token_embd.weight": return "token_embedding.weight"
        case "enc.output_norm.weight": return "norm.weight"
        // Of a complete model: its decoder is not used.
        case _ where key.hasPrefix("dec.") || key.hasPrefix("output."): return nil
        default: break
        }
        let parts = key.split(separator: ".", maxSplits: 3)
        guard parts.count == 4, parts[0] == "enc", parts[1] == "blk" else { return key }
        return "blocks.\(parts[2]).\(renamed(parts[3], Self.block))"
    }

    func translated(_ key: String) -> String { TransformersT5Names([]).translated(key) }
}
