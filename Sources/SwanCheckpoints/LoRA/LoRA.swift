import Foundation
import Torch
public import TorchNN
public import SwanSystem

/// A LoRA: changes to the weights of a Wan transformer, as products and full differences.
///
/// LoRA, https://arxiv.org/abs/2106.09685; DoRA, https://arxiv.org/abs/2402.09353; LoKr and LoHa,
/// https://arxiv.org/abs/2309.14859. Reads the key names of diffusers and PEFT, ComfyUI, kohya's
/// trainers, LyCORIS and others (`LoRAKey`, `LoRAModuleName`).
public struct LoRA: Sendable {
    /// The file's path, or another name that identifies the LoRA in messages.
    public let name: String
    /// The scale of the changes. Layers that keep the LoRA separate use a new value from their next call.
    public let strength: LowRankAddition.Strength
    let source: any WeightSource
    /// The keys, grouped by the module they change.
    private(set) var changes: [String: Change] = [:]
    /// Those for the low-noise transformer of two, if the file has both.
    private var lowNoise: [String: Change] = [:]
    /// The keys that change nothing in a transformer, and why.
    let otherKeys: [(key: String, reason: String)]
    /// How changes are scaled that have no alpha of their own.
    private var settings = LoRASettings()

    /// The keys that change one module.
    struct Change: Sendable {
        var keys: [Role: String] = [:]
    }

    /// Opens a LoRA file, or a folder with one as PEFT and diffusers write it.
    public static func open(_ path: String, strength: Double = 1) throws(SwanError) -> LoRA {
        let file = try LoRAFiles.weights(path)
        let checkpoint = try Checkpoint.open(
            file,
            preferring: ["generator_lora", "lora", "lora_state_dict", "state_dict"]
        )
        var lora = try LoRA(checkpoint, name: path, strength: strength)
        if let text = checkpoint.metadata[LoRASettings.metadataKey] {
            let place = "\(path): \(LoRASettings.metadataKey)"
            lora.settings = try LoRASettings(Data(text.utf8), place)
        } else if let settings = LoRAFiles.settings(of: file) {
            lora.settings = try LoRASettings(SmallFile.data(settings), settings)
        }
        return lora
    }

    /// Reads the keys of a LoRA. Its tensors are read when they are needed.
    ///
    /// - Throws: `invalidWeights`, naming the keys, if the adapter is not a LoRA.
    public init(
        _ source: any WeightSource,
        name: String,
        strength: Double = 1
    ) throws(SwanError) {
        self.source = source
        self.name = name
        self.strength = LowRankAddition.Strength(strength)
        var unknown: [String] = []
        var others: [(key: String, reason: String)] = []
        for key in source.keys.sorted() {
            guard let read = LoRAKey(key) else {
                unknown.append(key)
                continue
            }
            let (module, role) = (read.name.module, read.role)
            let old: String?
            switch read.name.owner {
            case .other:
                others.append((key, "belongs to another network"))
                continue
            case .transformer:
                old = changes[module, default: Change()].keys.updateValue(key, forKey: role)
            case .lowNoiseTransformer:
                old = lowNoise[module, default: Change()].keys.updateValue(key, forKey: role)
            }
            if let old {
                throw SwanError(
                    .invalidWeights,
                    "\(name): \(module) is changed twice, by \(old) and \(key)"
                )
            }
        }
        otherKeys = others + unknown.map { ($0, "is not a key of a LoRA") }
        try requireLoRA(unknown)
    }

    /// Throws unless there are changes, of kinds that are supported.
    private func requireLoRA(_ unknown: [String]) throws(SwanError) {
        for key in unknown {
            guard let kind = LoRAKey.otherKind(key) else { continue }
            throw SwanError(
                .unsupported,
                "\(name): \(key) belongs to \(kind); LoRA, DoRA, LoKr, LoHa and full differences "
                    + "are supported"
            )
        }
        let all = Array(changes.values) + Array(lowNoise.values)
        let isModel = all.allSatisfy { change in
            change.keys.keys.allSatisfy { $0 == .newWeight || $0 == .newBias }
        }
        guard all.isEmpty || !isModel else {
            throw SwanError(
                .invalidWeights,
                "\(name): is not a LoRA but holds whole weights; a model is opened with --model"
            )
        }
        guard all.isEmpty else { return }
        guard unknown.isEmpty else {
            throw SwanError(
                .invalidWeights,
                Self.list(
                    "\(name): \(unknown.count) keys are not LoRA keys (lora_A, lora_B, lora_down, "
                        + "lora_up, lokr, hada, dora_scale, alpha, diff, diff_b, diff_m):",
                    unknown
                )
            )
        }
        throw SwanError(
            .invalidWeights,
            otherKeys.isEmpty
                ? "\(name): the LoRA is empty"
                : "\(name): changes only another network than the transformer (\(otherKeys[0].key))"
        )
    }

    static func list(_ head: String, _ lines: [String]) -> String {
        let shown = 12
        let rest = lines.count > shown ? ["and \(lines.count - shown) more"] : []
        return ([head] + (lines.prefix(shown) + rest).map { "  " + $0 }).joined(separator: "\n")
    }
}

extension LoRA {
    /// What a LoRA has for one of two transformers: a file for both has names for each
    /// (`transformer_2.`, `pipe.dit2.`, …), and any other changes whichever it is applied to.
    ///
    /// - Returns: nil if it has nothing for this one.
    package func part(forLowNoise isLow: Bool) -> LoRA? {
        guard !lowNoise.isEmpty else { return self }
        var part = self
        part.changes = isLow ? lowNoise : changes
        part.lowNoise = [:]
        return part.changes.isEmpty ? nil : part
    }

    /// A LoRA for a model with one transformer.
    ///
    /// - Throws: `invalidWeights` if the file is for two.
    package func forOneTransformer() throws(SwanError) -> LoRA {
        guard !lowNoise.isEmpty else { return self }
        guard changes.isEmpty, let part = part(forLowNoise: true) else {
            let key = lowNoise.values.flatMap(\.keys.values).min() ?? ""
            throw SwanError(
                .invalidWeights,
                "\(name): has changes for two transformers (such as \(key)); only one can be changed here"
            )
        }
        return part
    }

    /// Whether it consists of low-rank products alone, which layers can add at every call.
    package var isAdditive: Bool {
        let roles: Set<Role> = [.down, .up, .alpha, .scalar]
        return changes.values.allSatisfy { $0.keys.keys.allSatisfy(roles.contains) }
    }

    /// Reads the tensor at a key of this LoRA as float32; throws unless all values are finite.
    func tensor(_ key: String) throws(SwanError) -> Tensor {
        let tensor = try source.tensor(key, source.shape(key) ?? []).to(.float32)
        guard try tensor.isAllFinite() else {
            throw SwanError(.invalidWeights, "\(name): \(key) is not finite (NaN or infinite)")
        }
        return tensor
    }

    /// The factor of a module's change: alpha / rank, where alpha defaults to PEFT's settings and then
    /// to the rank.
    ///
    /// A LoKr of two whole matrices has no rank, and its alpha no meaning (LyCORIS writes any).
    func factor(of change: Change, in module: String) throws(SwanError) -> Double {
        let rank = try rank(of: change)
        let scalar = try change.keys[.scalar].map { key throws(SwanError) in try number(key) } ?? 1
        guard let key = change.keys[.alpha] else {
            return scalar * settings.factor(module, rank: rank)
        }
        guard let rank, rank > 0 else { return scalar }
        return try scalar * number(key) / Double(rank)
    }

    /// The length of the axis that a product sums over.
    func rank(of change: Change) throws(SwanError) -> Int? {
        for role in [Role.down, .kron2B, .kron1B, .hada1B] {
            if let key = change.keys[role] { return try source.shape(key)?.first }
        }
        return nil
    }

    private func number(_ key: String) throws(SwanError) -> Double {
        let value = try tensor(key)
        guard value.count == 1 else {
            throw SwanError(.invalidWeights, "\(name): \(key) is \(value.shape); expected a scalar")
        }
        return try value.item()
    }
}
