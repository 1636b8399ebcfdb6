import Foundation
import Torch
public import TorchNN
public import SwanSystem

/// A LoRA: changes to the weights of a Wan transformer, as low-rank products and full differences.
///
/// LoRA, https://arxiv.org/abs/2106.09685. Reads files with the key names of diffusers and PEFT, ComfyUI
/// (Wan's own names under `diffusion_model.`) and musubi-tuner (`lora_unet_` with underscores).
public struct LoRA: Sendable {
    /// The file's path, or another name that identifies the LoRA in messages.
    public let name: String
    /// The scale of the changes. Layers that keep the LoRA separate use a new value from their next call.
    public let strength: LowRankAddition.Strength
    let source: any WeightSource
    /// The keys, grouped by the module they change.
    let changes: [String: Change]
    /// The alpha of modules that do not have their own.
    private var sharedAlpha: Double?

    /// The keys that change one module.
    struct Change: Sendable {
        var keys: [Role: String] = [:]
    }

    /// The role of a key in the module it names.
    enum Role: Hashable, Sendable {
        case down, up, upBias, alpha
        /// A full difference of a weight, a bias or a modulation.
        case weight, bias, modulation
    }

    /// Opens a LoRA file.
    public static func open(_ path: String, strength: Double = 1) throws(SwanError) -> LoRA {
        let checkpoint = try Checkpoint.open(
            path,
            preferring: ["generator_lora", "state_dict"]
        )
        var lora = try LoRA(checkpoint, name: path, strength: strength)
        lora.sharedAlpha = try Self.alpha(inMetadata: checkpoint.metadata, of: path)
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
        var changes: [String: Change] = [:]
        var unknown: [String] = []
        for key in source.keys.sorted() {
            if key.hasSuffix("dora_scale") || key.contains("lora_magnitude_vector") {
                throw SwanError(
                    .invalidWeights,
                    "\(name): \(key) belongs to a DoRA, which also rescales the weights it changes; "
                        + "only LoRA is supported: save it as a full difference (.diff) instead"
                )
            }
            guard let (module, role) = Self.read(key) else {
                unknown.append(key)
                continue
            }
            guard changes[module, default: Change()].keys.updateValue(key, forKey: role) == nil
            else {
                throw SwanError(.invalidWeights, "\(name): \(module) is changed twice, by \(key)")
            }
        }
        guard unknown.isEmpty, !changes.isEmpty else {
            throw SwanError(
                .invalidWeights,
                unknown.isEmpty
                    ? "\(name): the LoRA is empty"
                    : Self.list(
                        "\(name): \(unknown.count) keys are not LoRA keys (lora_A, lora_B, lora_down, "
                            + "lora_up, alpha, diff, diff_b, diff_m):",
                        unknown
                    )
            )
        }
        self.changes = changes
    }

    // MARK: - Names

    private static let suffixes: [(String, Role)] = [
        ("lora_A", .down), ("lora_down", .down), ("lora.down", .down),
        ("lora_B", .up), ("lora_up", .up), ("lora.up", .up),
    ]
    private static let plain: [(String, Role)] = [
        ("alpha", .alpha), ("diff", .weight), ("diff_b", .bias), ("diff_m", .modulation),
    ]
    private static let prefixes = [
        "base_model.model.", "model.diffusion_model.", "diffusion_model.", "transformer.",
        "lora_unet_", "model.", "module.", "unet.",
    ]

    /// The module that a key changes, without prefixes, and the key's role; nil if it is not a LoRA key.
    private static func read(_ key: String) -> (module: String, role: Role)? {
        for (suffix, role) in plain where key.hasSuffix("." + suffix) {
            return (stripped(key.dropLast(suffix.count + 1)), role)
        }
        for (suffix, role) in suffixes {
            guard let range = key.range(of: "." + suffix, options: .backwards) else { continue }
            // Followed by `.weight`, or by PEFT's adapter name and `.weight`.
            let rest = key[range.upperBound...].split(
                separator: ".",
                omittingEmptySubsequences: false
            )
            let module = stripped(key[..<range.lowerBound])
            switch rest.last {
            case "weight" where rest.first == "" && rest.count <= 3: return (module, role)
            case "bias" where rest.first == "" && rest.count <= 3 && role == .up:
                return (module, .upBias)
            case "" where rest.count == 1: return (module, role)
            default: return nil
            }
        }
        return nil
    }

    private static func stripped(_ module: Substring) -> String {
        var module = module
        while let prefix = prefixes.first(where: { module.hasPrefix($0) }) {
            module = module.dropFirst(prefix.count)
        }
        return String(module)
    }

    static func list(_ head: String, _ lines: [String]) -> String {
        let shown = 12
        let rest = lines.count > shown ? ["and \(lines.count - shown) more"] : []
        return ([head] + (lines.prefix(shown) + rest).map { "  " + $0 }).joined(separator: "\n")
    }
}

extension LoRA {
    /// Reads the tensor at a key of this LoRA as float32; throws unless all values are finite.
    func tensor(_ key: String) throws(SwanError) -> Tensor {
        let tensor = try source.tensor(key, source.shape(key) ?? []).to(.float32)
        guard try tensor.isAllFinite() else {
            throw SwanError(.invalidWeights, "\(name): \(key) is not finite (NaN or infinite)")
        }
        return tensor
    }

    /// The key of PEFT's settings in a file's metadata.
    static let settingsKey = "lora_adapter_metadata"

    /// The alpha shared by all modules, from the PEFT settings that diffusers writes to a file's metadata.
    private static func alpha(
        inMetadata metadata: [String: String],
        of path: String
    ) throws(SwanError) -> Double? {
        let key = settingsKey
        guard let text = metadata[key] else { return nil }
        guard text.utf8.count <= 1 << 20 else {
            throw SwanError(.invalidFile, "\(path): \(key) is larger than 1 MiB")
        }
        do {
            let values = try JSONSerialization.jsonObject(with: Data(text.utf8))
            let settings = values as? [String: Any] ?? [:]
            let alpha = settings.first { $0.key.hasSuffix("lora_alpha") }?.value
            return (alpha as? NSNumber)?.doubleValue
        } catch {
            throw SwanError(.invalidFile, "\(path): \(key) is not valid JSON")
        }
    }

    /// alpha / rank; alpha defaults to the rank.
    func factor(of change: Change) throws(SwanError) -> Double {
        guard let down = change.keys[.down], let rank = try source.shape(down)?.first, rank > 0
        else { return 1 }
        guard let key = change.keys[.alpha] else {
            return sharedAlpha.map { $0 / Double(rank) } ?? 1
        }
        let alpha = try tensor(key)
        guard alpha.count == 1 else {
            throw SwanError(.invalidWeights, "\(name): \(key) is \(alpha.shape); expected a scalar")
        }
        return try alpha.item() / Double(rank)
    }
}
