import SwanSystem
import TorchNN

/// Finds the weights of a model that a LoRA changes, and collects what does not fit.
struct LoRAMatching {
    /// A key that does not fit, and why.
    typealias Misfit = (key: String, reason: String)

    private let lora: LoRA
    private let model: any WeightSource
    /// The modules of the model. One that contains others may also have a weight itself, such as
    /// `head.modulation`.
    private let layers: Set<String>
    /// The names of the models whose widths the mismatched keys have.
    private var widths: [String] = []

    private(set) var found: [String: LoRA.Difference] = [:]
    /// Keys that must not be: of another shape, or of an incomplete change.
    private(set) var problems: [Misfit] = []
    /// Keys for which the model has no weight.
    private(set) var leftOut: [Misfit] = []

    init(_ lora: LoRA, _ model: any WeightSource) {
        self.lora = lora
        self.model = model
        layers = Set(
            model.keys.map { key in key.lastIndex(of: ".").map { String(key[..<$0]) } ?? "" }
        )
    }

    /// Matches the changes of a module.
    mutating func match(_ module: String, _ change: LoRA.Change) throws(SwanError) {
        let layer = layers.contains(module) ? module : nil
        let factor = try lora.factor(of: change, in: module)
        try matchMatrix(change, layer, factor)
        for (role, key) in change.keys.sorted(by: { $0.value < $1.value }) {
            switch role {
            case .weight: try matchPlain(key, "weight", layer, module, 1)
            case .modulation: try matchPlain(key, "modulation", layer, module, 1)
            case .bias: try matchPlain(key, "bias", layer, module, 1)
            case .upBias: try matchPlain(key, "bias", layer, module, factor)
            case .newWeight: try matchPlain(key, "weight", layer, module, nil)
            case .newBias: try matchPlain(key, "bias", layer, module, nil)
            case .alpha, .scalar:
                if layer == nil { leftOut.append((key, "no such layer")) }
            default: break
            }
        }
    }

    // MARK: - Matrices

    /// Matches the change of a module's matrix, and the norms that it gets.
    private mutating func matchMatrix(
        _ change: LoRA.Change,
        _ layer: String?,
        _ factor: Double
    ) throws(SwanError) {
        let norms = [LoRA.Role.magnitude, .doraScale].compactMap { change.keys[$0] }
        let keys = change.deltaKeys + norms
        guard !keys.isEmpty else { return }
        guard let target = Self.key("weight", of: layer), let weight = try model.shape(target),
            weight.count > 1
        else {
            return try leaveOut(keys, "no such layer")
        }
        guard change.kindCount == 1 else {
            let reason =
                norms.isEmpty ? "is of two kinds of change" : "there is nothing that it scales"
            problems += keys.map { ($0, reason) }
            return
        }
        guard let delta = change.delta else {
            problems += try keys.map { key throws(SwanError) in
                (try named(key), "its \(change.missing) is missing")
            }
            return
        }
        let inputs = weight.dropFirst().reduce(1, *)
        let size = try delta.size(in: lora.source)
        guard size == [weight[0], inputs] else {
            return try mismatch(keys, weight, size, layer)
        }
        found[target, default: LoRA.Difference()].delta = (delta, factor)
        guard let key = norms.first else { return }
        guard let axis = try normAxis(key, change.keys[.doraScale] != nil, weight) else {
            problems.append((try named(key), "the weight is \(weight)"))
            return
        }
        found[target, default: LoRA.Difference()].norms = (key, axis)
    }

    /// The axis of a weight that norms belong to: outputs, or inputs, which only `dora_scale` can
    /// be; nil if there are as many of neither.
    private func normAxis(
        _ key: String,
        _ canBeInputs: Bool,
        _ weight: [Int]
    ) throws(SwanError) -> Int? {
        let shape = try lora.source.shape(key) ?? []
        let count = shape.reduce(1, *)
        if canBeInputs, shape.count > 1, shape[0] == 1, count == weight[1] { return 1 }
        return count == weight[0] ? 0 : nil
    }

    /// Records keys whose change has another size than the weight.
    private mutating func mismatch(
        _ keys: [String],
        _ weight: [Int],
        _ size: [Int]?,
        _ layer: String?
    ) throws(SwanError) {
        // Variants differ in the channels that they see: the others have no use for the change.
        if layer?.hasSuffix("patch_embedding") == true, let size, size[0] == weight[0] {
            return try leaveOut(keys, "the weight is \(weight)")
        }
        for key in keys {
            problems.append((try named(key), "the weight is \(weight)"))
            let shape = try lora.source.shape(key) ?? []
            noteWidth(shape.dropFirst().first, layer)
            noteWidth(shape.first, layer)
        }
    }

    // MARK: - Full differences

    /// Matches a full difference of a weight, or a value in place of it.
    ///
    /// - Parameter factor: The factor of a difference; nil for a value.
    private mutating func matchPlain(
        _ key: String,
        _ name: String,
        _ layer: String?,
        _ module: String,
        _ factor: Double?
    ) throws(SwanError) {
        let size = try lora.source.shape(key) ?? []
        // A modulation may be named as a module of its own.
        var target = Self.key(name, of: layer) ?? module
        if try model.shape(target) == nil { target = module }
        guard let weight = try model.shape(target) else {
            leftOut.append((try named(key), "no such weight"))
            return
        }
        guard size == weight else {
            return try mismatch([key], weight, [size.first ?? 0, 1], layer)
        }
        if let factor {
            found[target, default: LoRA.Difference()].plain = (key, factor)
        } else {
            found[target, default: LoRA.Difference()].replacement = key
        }
    }

    private static func key(_ weight: String, of layer: String?) -> String? {
        layer.map { $0.isEmpty ? weight : "\($0).\(weight)" }
    }

    private mutating func leaveOut(_ keys: [String], _ reason: String) throws(SwanError) {
        leftOut += try keys.map { key throws(SwanError) in (try named(key), reason) }
    }

    /// A key with its shape.
    private func named(_ key: String) throws(SwanError) -> String {
        "\(key) \(try lora.source.shape(key) ?? [])"
    }
}

// MARK: - The model it was trained for

extension LoRAMatching {
    private static let models = [
        1_536: "1.3B (width 1536)", 3_072: "5B (width 3072)", 5_120: "14B (width 5120)",
    ]

    private mutating func noteWidth(_ size: Int?, _ layer: String?) {
        guard let size, let model = Self.models[size], layer?.contains("attn") == true else {
            return
        }
        widths.append(model)
    }

    /// A hint at the model that a LoRA with keys that do not fit was trained for.
    func hint() throws(SwanError) -> String {
        let own = try model.shape("time_projection.1.weight")?.last
        if let made = widths.first {
            let here = own.flatMap { Self.models[$0] } ?? own.map { "width \($0)" } ?? "another"
            return ": it was trained for Wan \(made), but this model is \(here)"
        }
        let changed = lora.changes.keys
        let variants = [
            ("k_img", "an image-to-video model that attends to image tokens"),
            ("img_emb", "an image-to-video model that attends to image tokens"),
            ("vace_", "a VACE model"),
        ]
        for (part, variant) in variants
        where changed.contains(where: { $0.contains(part) })
            && !model.keys.contains(where: { $0.contains(part) })
        {
            return ": it was trained for \(variant)"
        }
        let isWan = changed.contains { $0.contains("_attn.") || $0.contains("ffn.") }
        return isWan || !found.isEmpty ? "" : ": it was not trained for a Wan model"
    }
}
