import Foundation
package import SwanSystem
import Torch
import TorchNN

/// Rewrites a LoRA's file with the names of another program.
package enum LoRAConversion {
    /// Converts a file; its products and biases keep their dtype.
    ///
    /// Where the format has no alpha, the scale is multiplied into B: in PEFT's, which has one for
    /// all modules, and outside of blocks, where diffusers reads none.
    ///
    /// - Parameter target: A file, which must not exist yet.
    /// - Throws: `invalidWeights`, listing the keys that a format has no names for.
    package static func convert(
        _ path: String,
        to target: String,
        as format: LoRAFormat
    ) throws(SwanError) {
        guard !FileManager.default.fileExists(atPath: target) else {
            throw SwanError(.exists, "\(target): exists already; choose another name")
        }
        let lora = try LoRA.open(path)
        var tensors: [String: Tensor] = [:]
        var unnamed: [String] = []
        for (module, change) in lora.changes.sorted(by: { $0.key < $1.key }) {
            guard let own = original(module) else {
                unnamed += change.keys.values.sorted()
                continue
            }
            let (name, hasAlpha) = (format.name(own), format.hasAlpha(own))
            let factor = try lora.factor(of: change)
            for (role, key) in change.keys.sorted(by: { $0.value < $1.value })
            where role != .alpha {
                guard let suffix = format.suffix(role) else {
                    unnamed.append(key)
                    continue
                }
                let stored = try lora.source.tensor(key, lora.source.shape(key) ?? [])
                let isScaled = !hasAlpha && (role == .up || role == .upBias) && factor != 1
                tensors[name + suffix] = isScaled ? try stored.to(.float32) * factor : stored
            }
            guard hasAlpha, let down = change.keys[.down],
                let rank = try lora.source.shape(down)?.first
            else { continue }
            tensors[name + ".alpha"] = try Tensor([Float(factor * Double(rank))], [])
        }
        guard unnamed.isEmpty else {
            throw SwanError(
                .invalidWeights,
                LoRA.list("\(path): \(format.rawValue) has no names for:", unnamed)
            )
        }
        try Safetensors.write(tensors, metadata: ["format": "pt"], to: target)
    }

    /// Wan's name of a module, given any; nil for a flat one that is not of a block.
    private static func original(_ module: String) -> String? {
        let name = TransformerModuleNames.original(module)
        guard !name.contains("."), name.contains("_") else { return name }
        return flat(name)
    }

    /// Wan's name of a module whose dots are underscores.
    private static func flat(_ name: String) -> String? {
        let pattern = /^(blocks|vace_blocks)_(\d+)_(.+)$/
        guard let match = name.wholeMatch(of: pattern) else { return rootModules[name] }
        let rest = String(match.3)
        guard let module = blockModules[rest] else { return nil }
        return "\(match.1).\(match.2).\(module)"
    }

    private static let blockModules: [String: String] = {
        var names = ["ffn.0", "ffn.2", "before_proj", "after_proj", "norm3"]
        for attention in ["self_attn", "cross_attn"] {
            for part in ["q", "k", "v", "o", "k_img", "v_img", "norm_q", "norm_k", "norm_k_img"] {
                names.append("\(attention).\(part)")
            }
        }
        return lookup(names, prefix: "blocks.0.")
    }()

    private static let rootModules: [String: String] = lookup(
        [
            "time_embedding.0", "time_embedding.2", "time_projection.1", "text_embedding.0",
            "text_embedding.2", "img_emb.proj.1", "img_emb.proj.3", "head.head",
            "patch_embedding",
        ],
        prefix: ""
    )

    /// Wan's names, by Wan's and diffusers' with underscores.
    private static func lookup(_ names: [String], prefix: String) -> [String: String] {
        var found: [String: String] = [:]
        for name in names {
            let other = TransformerModuleNames.diffusers(prefix + name).dropFirst(prefix.count)
            for spelling in [name, String(other)] {
                found[spelling.replacing(".", with: "_")] = name
            }
        }
        return found
    }
}

extension LoRAFormat {
    /// What follows a module's name; nil for what the format cannot say.
    fileprivate func suffix(_ role: LoRA.Role) -> String? {
        switch (role, self) {
        case (.down, _): ".\(down).weight"
        case (.up, _): ".\(up).weight"
        case (.upBias, .peft): ".lora_B.bias"
        case (.weight, .comfyUI): ".diff"
        case (.bias, .comfyUI): ".diff_b"
        case (.modulation, .comfyUI): ".diff_m"
        default: nil
        }
    }
}
