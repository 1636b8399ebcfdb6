import SwanSystem
import TorchNN

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
        var matching = LoRAMatching(self, model)
        for (module, change) in changes.sorted(by: { $0.key < $1.key }) {
            try matching.match(module, change)
        }
        guard matching.problems.isEmpty else {
            throw SwanError(
                .invalidWeights,
                Self.list(
                    "\(name): \(matching.problems.count) of its \(source.keys.count) keys do not fit "
                        + "the model\(try matching.hint()):",
                    matching.problems
                )
            )
        }
        return matching.found
    }
}

/// Finds the weights of a model that a LoRA changes, and collects what does not fit.
private struct LoRAMatching {
    private let lora: LoRA
    private let model: any WeightSource
    private let modules: Modules
    /// The modules of the LoRA, by the layer that they change.
    private var moduleOfLayer: [String: String] = [:]
    /// The names of the models whose widths the mismatched keys have.
    private var widths: [String] = []

    private(set) var found: [String: LoRA.Difference] = [:]
    private(set) var problems: [String] = []

    init(_ lora: LoRA, _ model: any WeightSource) {
        self.lora = lora
        self.model = model
        modules = Modules(model.keys)
    }

    mutating func match(_ module: String, _ change: LoRA.Change) throws(SwanError) {
        let layer = modules.original(module)
        if let layer, let other = moduleOfLayer.updateValue(module, forKey: layer) {
            problems.append("\(module): is the same layer as \(other), which is already changed")
        }
        let factor = try lora.factor(of: change)
        for (role, key) in change.keys.sorted(by: { $0.value < $1.value }) {
            switch role {
            case .alpha: if layer == nil { problems.append("\(key): no such layer") }
            case .down, .up: try matchProduct(key, role, change, layer, factor)
            case .weight: try matchPlain(key, "weight", layer, 1)
            case .modulation: try matchPlain(key, "modulation", layer, 1)
            case .bias: try matchPlain(key, "bias", layer, 1)
            case .upBias: try matchPlain(key, "bias", layer, factor)
            }
        }
    }

    /// Matches one side of a low-rank product.
    private mutating func matchProduct(
        _ key: String,
        _ role: LoRA.Role,
        _ change: LoRA.Change,
        _ layer: String?,
        _ factor: Double
    ) throws(SwanError) {
        let size = try lora.source.shape(key) ?? []
        guard let target = Self.key("weight", of: layer), let weight = try model.shape(target),
            weight.count > 1
        else {
            problems.append("\(key) \(size): no such layer")
            return
        }
        let isDown = role == .down
        guard let down = change.keys[.down], let up = change.keys[.up] else {
            let other = isDown ? "lora_B (lora_up)" : "lora_A (lora_down)"
            problems.append("\(key) \(size): its \(other) is missing")
            return
        }
        let rank = try lora.source.shape(isDown ? up : down)
        let fits =
            isDown
            ? size.dropFirst().reduce(1, *) == weight.dropFirst().reduce(1, *) && size.count > 1
            : size.first == weight[0] && size.dropFirst().reduce(1, *) == rank?.first
        guard fits else {
            problems.append("\(key) \(size): the weight is \(weight)")
            noteWidth(isDown ? size.dropFirst().first : size.first, layer)
            return
        }
        found[target, default: LoRA.Difference()].product = (down, up, factor)
    }

    /// Matches a full difference of a weight.
    private mutating func matchPlain(
        _ key: String,
        _ name: String,
        _ layer: String?,
        _ factor: Double
    ) throws(SwanError) {
        let size = try lora.source.shape(key) ?? []
        guard let target = Self.key(name, of: layer), let weight = try model.shape(target) else {
            problems.append("\(key) \(size): no such weight")
            return
        }
        guard size == weight else {
            problems.append("\(key) \(size): the weight is \(weight)")
            noteWidth(size.last, layer)
            return
        }
        found[target, default: LoRA.Difference()].plain = (key, factor)
    }

    private static func key(_ weight: String, of layer: String?) -> String? {
        layer.map { $0.isEmpty ? weight : "\($0).\(weight)" }
    }

    // MARK: - The model it was trained for

    private static let models = [
        1_536: "1.3B (width 1536)", 3_072: "5B (width 3072)", 5_120: "14B (width 5120)",
    ]

    private mutating func noteWidth(_ size: Int?, _ layer: String?) {
        guard let size, let model = Self.models[size], layer?.contains("attn") == true else {
            return
        }
        widths.append(model)
    }

    /// A hint at the model that a LoRA with mismatched keys was trained for.
    func hint() throws(SwanError) -> String {
        let own = try model.shape("time_projection.1.weight")?.last
        if let made = widths.first {
            let here = own.flatMap { Self.models[$0] } ?? own.map { "width \($0)" } ?? "another"
            return ": it was trained for Wan \(made), but this model is \(here)"
        }
        let changed = lora.changes.keys
        if changed.contains(where: { $0.contains("k_img") || $0.contains("add_k_proj") }),
            !model.keys.contains(where: { $0.contains("k_img") })
        {
            return ": it was trained for an image-to-video model that attends to image tokens"
        }
        let isWan = changed.contains { $0.contains("attn1") || $0.contains("self_attn") }
        return isWan ? "" : ": it was not trained for a Wan model"
    }
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
            let name = TransformerModuleNames.diffusers(module)
            flat[name.replacing(".", with: "_")] = module
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
