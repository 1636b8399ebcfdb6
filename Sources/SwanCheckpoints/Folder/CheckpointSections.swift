import SwanSystem
import Torch
import TorchNN

/// The parts of a model that one file contains, each with the prefix of its keys.
///
/// Files that ComfyUI saves as checkpoints have all parts, such as `model.diffusion_model.`, `vae.`
/// and `text_encoders.umt5xxl.transformer.`; others have one part below a prefix. A part is found by
/// keys that only it has, whatever its prefix is.
struct CheckpointSections {
    /// The prefix of each part, with its trailing dot; empty if the keys have none.
    let prefixes: [CheckpointKind: String]

    /// The ends of keys that show where a part is. A file has at most one of those of a part.
    private static let marks: [(end: String, kind: CheckpointKind)] = [
        ("time_projection.1.weight", .transformer),
        ("condition_embedder.time_proj.weight", .transformer),
        ("decoder.head.0.gamma", .vae), ("decoder.norm_out.gamma", .vae),
        ("blocks.0.pos_embedding.embedding.weight", .textEncoder),
        ("encoder.block.0.layer.0.SelfAttention.q.weight", .textEncoder),
        ("enc.blk.0.attn_q.weight", .textEncoder),
        ("visual.cls_embedding", .imageEncoder),
        ("vision_model.embeddings.class_embedding", .imageEncoder),
    ]

    /// Finds the parts of a checkpoint.
    ///
    /// - Throws: `invalidWeights` if it has two of a part, since nothing says which one is meant.
    init(_ checkpoint: Checkpoint) throws(SwanError) {
        var prefixes: [CheckpointKind: String] = [:]
        for key in checkpoint.keys.sorted() {
            guard let mark = Self.marks.first(where: { key.hasSuffix($0.end) }) else { continue }
            let prefix = String(key.dropLast(mark.end.count))
            guard prefix.isEmpty || prefix.hasSuffix(".") else { continue }
            if let other = prefixes.updateValue(prefix, forKey: mark.kind), other != prefix {
                throw SwanError(
                    .invalidWeights,
                    "\(checkpoint.path): has two models of a kind (\(mark.kind.rawValue)), under"
                        + " \"\(other)\" and \"\(prefix)\"; save the one to use in a file of its own"
                )
            }
        }
        self.prefixes = prefixes
    }

    /// The prefix of a part; nil if the whole file is this part, or has none of this kind.
    func section(of kind: CheckpointKind) -> String? {
        guard let prefix = prefixes[kind], !prefix.isEmpty || prefixes.count > 1 else { return nil }
        return prefix
    }

    /// The weights of the part with a prefix, under their names in the part.
    func part(under prefix: String, of checkpoint: Checkpoint) throws(SwanError) -> Checkpoint {
        let others = prefixes.values.filter { $0 != prefix && $0.hasPrefix(prefix) }
        return try checkpoint.part(under: prefix, without: others)
    }
}

extension ModelFolder.Part {
    /// The kind of weights that the part has; nil for the tokenizer.
    var kind: CheckpointKind? {
        switch self {
        case .transformer, .lowNoiseTransformer: .transformer
        case .vae: .vae
        case .textEncoder: .textEncoder
        case .imageEncoder: .imageEncoder
        case .tokenizer: nil
        }
    }
}
