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
    private let source: any WeightSource
    /// The keys, grouped by the module they change.
    private let changes: [String: Change]
    /// The alpha of modules that do not have their own.
    private var sharedAlpha: Double?

    /// The keys that change one module.
    private struct Change: Sendable {
        var keys: [Role: String] = [:]
    }

    /// The role of a key in the module it names.
    private enum Role: Hashable, Sendable {
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

    fileprivate static func list(_ head: String, _ lines: [String]) -> String {
        let shown = 12
        let rest = lines.count > shown ? ["and \(lines.count - shown) more"] : []
        return ([head] + (lines.prefix(shown) + rest).map { "  " + $0 }).joined(separator: "\n")
    }
}

// MARK: - Matching a model

extension LoRA {
    /// The changes to one weight.
    struct Difference: Sendable {
        /// The keys of `down` [rank, ...] and `up` [outputs, rank], and the factor of their product.
        var product: (down: String, up: String, factor: Double)?
        /// The key of a full difference, which has the shape of the weight, and its factor.
        var plain: (key: String, factor: Double)?
    }

    /// The changes, by the key of the weight that they apply to.
    ///
    /// - Throws: One error that lists every key for which `model` has no weight or one of a different shape.
    func differences(for model: any WeightSource) throws(SwanError) -> [String: Difference] {
        let modules = Modules(model.keys)
        var found: [String: Difference] = [:]
        var problems: [String] = []
        var widths: [String] = []
        var places: [String: String] = [:]
        for (module, change) in changes.sorted(by: { $0.key < $1.key }) {
            let place = modules.original(module)
            if let place, let other = places.updateValue(module, forKey: place) {
                problems.append(
                    "\(module): is the same layer as \(other), which is already changed"
                )
            }
            func shape(_ weight: String) throws(SwanError) -> [Int]? {
                guard let place else { return nil }
                return try model.shape(place.isEmpty ? weight : "\(place).\(weight)")
            }
            func target(_ weight: String) -> String {
                [place ?? "", weight].filter { !$0.isEmpty }.joined(separator: ".")
            }
            let factor = try factor(of: change)
            for (role, key) in change.keys.sorted(by: { $0.value < $1.value }) {
                let size = try source.shape(key) ?? []
                switch role {
                case .alpha: if place == nil { problems.append("\(key): no such layer") }
                case .down, .up:
                    guard let weight = try shape("weight"), weight.count > 1 else {
                        problems.append("\(key) \(size): no such layer")
                        continue
                    }
                    guard let down = change.keys[.down], let up = change.keys[.up] else {
                        let other = role == .down ? "lora_B (lora_up)" : "lora_A (lora_down)"
                        problems.append("\(key) \(size): its \(other) is missing")
                        continue
                    }
                    let isDown = role == .down
                    let rank = try source.shape(isDown ? up : down)
                    let fits =
                        isDown
                        ? size.dropFirst().reduce(1, *) == weight.dropFirst().reduce(1, *)
                            && size.count > 1
                        : size.first == weight[0] && size.dropFirst().reduce(1, *) == rank?.first
                    guard fits else {
                        problems.append("\(key) \(size): the weight is \(weight)")
                        widths += Self.width(isDown ? size.dropFirst().first : size.first, place)
                        continue
                    }
                    found[target("weight"), default: Difference()].product = (down, up, factor)
                case .weight, .bias, .modulation, .upBias:
                    let name =
                        switch role {
                        case .weight: "weight"
                        case .modulation: "modulation"
                        default: "bias"
                        }
                    guard let weight = try shape(name) else {
                        problems.append("\(key) \(size): no such weight")
                        continue
                    }
                    guard size == weight else {
                        problems.append("\(key) \(size): the weight is \(weight)")
                        widths += Self.width(size.last, place)
                        continue
                    }
                    found[target(name), default: Difference()].plain =
                        (key, role == .upBias ? factor : 1)
                }
            }
        }
        guard problems.isEmpty else {
            throw SwanError(
                .invalidWeights,
                Self.list(
                    "\(name): \(problems.count) of its \(source.keys.count) keys do not fit the model"
                        + (try hint(widths, model)) + ":",
                    problems
                )
            )
        }
        return found
    }

    /// Reads the tensor at a key of this LoRA as float32; throws unless all values are finite.
    func tensor(_ key: String) throws(SwanError) -> Tensor {
        let tensor = try source.tensor(key, source.shape(key) ?? []).to(.float32)
        guard try tensor.isAllFinite() else {
            throw SwanError(.invalidWeights, "\(name): \(key) is not finite (NaN or infinite)")
        }
        return tensor
    }

    /// The alpha shared by all modules, from the PEFT settings that diffusers writes to a file's metadata.
    private static func alpha(
        inMetadata metadata: [String: String],
        of path: String
    ) throws(SwanError) -> Double? {
        let key = "lora_adapter_metadata"
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
    private func factor(of change: Change) throws(SwanError) -> Double {
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

    // MARK: - The model it was trained for

    private static let models = [
        1_536: "1.3B (width 1536)", 3_072: "5B (width 3072)", 5_120: "14B (width 5120)",
    ]

    private static func width(_ size: Int?, _ place: String?) -> [String] {
        guard let size, let model = models[size], place?.contains("attn") == true else { return [] }
        return [model]
    }

    /// A hint at the model that a LoRA with mismatched keys was trained for.
    private func hint(
        _ widths: [String],
        _ model: any WeightSource
    ) throws(SwanError) -> String {
        let own = try model.shape("time_projection.1.weight")?.last
        if let made = widths.first {
            let here = own.flatMap { Self.models[$0] } ?? own.map { "width \($0)" } ?? "another"
            return ": it was trained for Wan \(made), but this model is \(here)"
        }
        if changes.keys.contains(where: { $0.contains("k_img") || $0.contains("add_k_proj") }),
            !model.keys.contains(where: { $0.contains("k_img") })
        {
            return ": it was trained for an image-to-video model that attends to image tokens"
        }
        let isWan = changes.keys.contains { $0.contains("attn1") || $0.contains("self_attn") }
        return isWan ? "" : ": it was not trained for a Wan model"
    }

    /// The modules of a model, looked up by the names that a LoRA uses for them.
    private struct Modules {
        private let names: Set<String>
        /// Wan's module names, by Wan's and diffusers' names with underscores in place of dots.
        private let flat: [String: String]

        init(_ keys: [String]) {
            let modules = keys.map { key in
                key.lastIndex(of: ".").map { String(key[..<$0]) } ?? ""
            }
            // A module that contains other modules may also have a weight itself, such as `head.modulation`.
            names = Set(modules)
            var flat: [String: String] = [:]
            for module in names {
                flat[module.replacing(".", with: "_")] = module
                let theirs = TransformerModuleNames.diffusers(module)
                flat[theirs.replacing(".", with: "_")] = module
            }
            self.flat = flat
        }

        /// Wan's name of a module; nil if the model does not have it.
        func original(_ module: String) -> String? {
            let name = TransformerModuleNames.original(module)
            if names.contains(name) { return name }
            return names.contains(module) ? module : flat[module]
        }
    }
}
