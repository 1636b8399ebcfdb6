import SwanSystem
import Torch
import TorchNN

/// The vision tower of transformers' CLIP models under the names of Wan's checkpoint.
///
/// More than the names differ: Wan's checkpoint has the query, key and value projections in one matrix, and
/// its embeddings have a batch dimension.
struct TransformersCLIPWeights: WeightSource {
    private let source: any WeightSource
    /// For each of Wan's keys, the source keys to concatenate along the rows.
    private let parts: [String: [String]]

    private static let root: [(String, String)] = [
        ("embeddings.patch_embedding.", "patch_embedding."),
        ("embeddings.position_embedding.weight", "pos_embedding"),
        ("embeddings.class_embedding", "cls_embedding"),
        ("pre_layrnorm.", "pre_norm."),
        ("post_layernorm.", "post_norm."),
    ]
    private static let block: [(String, String)] = [
        ("layer_norm1.", "norm1."), ("layer_norm2.", "norm2."), ("mlp.fc1.", "mlp.0."),
        ("mlp.fc2.", "mlp.2."), ("self_attn.out_proj.", "attn.proj."),
        ("self_attn.q_proj.", "attn.to_qkv."),
    ]

    /// Creates the renamed weights.
    ///
    /// - Parameters:
    ///   - source: The weights in transformers' names.
    ///   - prefix: The prefix of the vision tower's keys. Other keys belong to a text encoder.
    init(_ source: any WeightSource, prefix: String) throws(SwanError) {
        self.source = source
        let keys = Set(source.keys)
        var parts: [String: [String]] = [:]
        for key in keys where key.hasPrefix(prefix) {
            guard let name = Self.original(key.dropFirst(prefix.count)) else { continue }
            parts["visual." + name] =
                key.contains(".q_proj.")
                ? ["q", "k", "v"].map { key.replacing(".q_proj.", with: ".\($0)_proj.") } : [key]
        }
        let missing = parts.values.joined().filter { !keys.contains($0) }.sorted()
        guard missing.isEmpty else {
            throw SwanError(
                .invalidWeights,
                "incomplete attention of a CLIP model; missing: " + missing.joined(separator: ", ")
            )
        }
        self.parts = parts
    }

    private static func original(_ key: Substring) -> String? {
        // Position indices from 0, which older versions of transformers stored.
        if key == "embeddings.position_ids" { return nil }
        if key.hasPrefix("visual_projection.") { return nil }
        let pieces = key.split(separator: ".", maxSplits: 3)
        guard pieces.count == 4, pieces[0] == "encoder", pieces[1] == "layers" else {
            return renamed(key, root)
        }
        // These are added together with the queries.
        if ["self_attn.k_proj.", "self_attn.v_proj."].contains(where: pieces[3].hasPrefix) {
            return nil
        }
        return "transformer.\(pieces[2]).\(renamed(pieces[3], block))"
    }

    var keys: [String] { Array(parts.keys) }

    func shape(_ key: String) throws(SwanError) -> [Int]? {
        guard let names = parts[key] else { return nil }
        var shape: [Int] = []
        for name in names {
            guard let part = try source.shape(name) else { return nil }
            guard let rows = part.first, rows <= NumberLimits.vocabulary.upperBound else {
                return nil
            }
            if shape.isEmpty { shape = part } else { shape[0] += rows }
        }
        return switch key {
        case "visual.cls_embedding": [1, 1] + shape
        case "visual.pos_embedding": [1] + shape
        default: shape
        }
    }

    func tensor(_ key: String, _ shape: [Int]) throws(SwanError) -> Tensor {
        guard let names = parts[key] else {
            throw SwanError(.invalidWeights, "there is no weight \(key)")
        }
        var tensors: [Tensor] = []
        for name in names {
            guard let part = try source.shape(name) else { continue }
            tensors.append(try source.tensor(name, part))
        }
        let whole = tensors.count == 1 ? tensors[0] : try concatenated(tensors)
        return try whole.reshaped(shape)
    }
}
