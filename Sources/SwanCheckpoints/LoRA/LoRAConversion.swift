import Foundation
package import SwanSystem
import Torch
import TorchNN

/// Rewrites a LoRA's file with the names of another program.
package struct LoRAConversion {
    private let lora: LoRA
    private let format: LoRAFormat
    private var tensors: [String: Tensor] = [:]
    /// Keys that the format has no names for.
    private var unnamed: [String] = []
    /// Keys of modules that no Wan transformer has.
    private var leftOut: [String] = []

    /// Converts a file; its products and biases keep their dtype.
    ///
    /// Where the format has no alpha, the scale is multiplied into B: in PEFT's, which has one for
    /// all modules, and outside of blocks, where diffusers reads none.
    ///
    /// - Parameters:
    ///   - target: A file, which must not exist yet.
    ///   - isStrict: Whether a key that is not one of a Wan transformer's is an error.
    /// - Returns: A message about keys that were left out; nil if none were.
    /// - Throws: `invalidWeights`, listing the keys that a format has no names for.
    package static func convert(
        _ path: String,
        to target: String,
        as format: LoRAFormat,
        isStrict: Bool = false
    ) throws(SwanError) -> String? {
        guard !FileManager.default.fileExists(atPath: target) else {
            throw SwanError(.exists, "\(target): exists already; choose another name")
        }
        let lora = try LoRA.open(path).forOneTransformer()
        var conversion = LoRAConversion(lora: lora, format: format)
        for (module, change) in lora.changes.sorted(by: { $0.key < $1.key }) {
            try conversion.convert(module, change)
        }
        let left = conversion.leftOut + lora.otherKeys.map(\.key)
        guard conversion.unnamed.isEmpty, left.isEmpty || !isStrict, !conversion.tensors.isEmpty
        else {
            throw SwanError(
                .invalidWeights,
                LoRA.list(
                    "\(path): \(format.rawValue) has no names for:",
                    conversion.unnamed + left
                )
            )
        }
        try Safetensors.write(conversion.tensors, metadata: ["format": "pt"], to: target)
        guard let first = left.first else { return nil }
        return
            "\(path): \(left.count) of its \(lora.source.keys.count) keys do not belong to a Wan "
            + "transformer and were left out, such as \(first)"
    }

    private mutating func convert(
        _ module: String,
        _ change: LoRA.Change
    ) throws(SwanError) {
        guard LoRAModuleName(module.split(separator: ".")[...]).isKnown else {
            leftOut += change.keys.values.sorted()
            return
        }
        let factor = try lora.factor(of: change, in: module)
        let rank = try lora.rank(of: change)
        let name = format.name(module)
        // diffusers reads low-rank products only, so others have their alpha everywhere.
        let isPlain = change.keys[.down] != nil && change.keys[.mid] == nil
        let hasAlpha = rank != nil && (isPlain ? format.hasAlpha(module) : format != .peft)
        let scaled: [LoRA.Role] =
            hasAlpha ? [] : isPlain ? [.up, .upBias] : [.up, .kron1, .kron1A, .hada1A]
        for (role, key) in change.keys.sorted(by: { $0.value < $1.value })
        where role != .alpha && role != .scalar {
            guard let suffix = format.suffix(role) else {
                unnamed.append(key)
                continue
            }
            var stored = try lora.source.tensor(key, lora.source.shape(key) ?? [])
            if factor != 1, scaled.contains(role) { stored = try stored.to(.float32) * factor }
            if role == .magnitude {
                // ComfyUI broadcasts the norms over the weight.
                let axes = try change.keys[.down].map { key throws(SwanError) in
                    try lora.source.shape(key)?.count ?? 2
                }
                let kernel = [Int](repeating: 1, count: (axes ?? 2) - 1)
                stored = try stored.reshaped([stored.count] + kernel)
            }
            tensors[name + suffix] = stored
        }
        guard hasAlpha, let rank else { return }
        tensors[name + ".alpha"] = try Tensor([Float(factor * Double(rank))], [])
    }
}

extension LoRAFormat {
    /// What follows a module's name; nil for what the format cannot say.
    fileprivate func suffix(_ role: LoRA.Role) -> String? {
        switch (role, self) {
        case (.down, _): ".\(down).weight"
        case (.up, _): ".\(up).weight"
        case (.upBias, .peft): ".lora_B.bias"
        case (_, .peft): nil
        case (.mid, _): ".lora_mid.weight"
        case (.magnitude, _): ".dora_scale"
        case (.weight, .comfyUI): ".diff"
        case (.bias, .comfyUI): ".diff_b"
        case (.modulation, .comfyUI): ".diff_m"
        case (.newWeight, .comfyUI): ".set_weight"
        default: role.lycoris.map { "." + $0 }
        }
    }
}
