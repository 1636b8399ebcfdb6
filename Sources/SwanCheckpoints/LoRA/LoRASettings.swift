import Foundation
import SwanSystem

/// PEFT's settings of an adapter that say how its changes are scaled.
///
/// PEFT, `LoraConfig`: alpha / r, or alpha / √r if the rank is stabilized
/// (https://arxiv.org/abs/2312.03732). They stand in `adapter_config.json` beside the weights, or in
/// the metadata of a file that diffusers wrote.
struct LoRASettings: Sendable {
    /// The file of the settings beside PEFT's weights.
    static let fileName = "adapter_config.json"
    /// The key of the settings in a file's metadata.
    static let metadataKey = "lora_adapter_metadata"

    private var alpha: Double?
    private var rank: Double?
    private var isRankStabilized = false
    /// Exceptions, by the ends of modules' names.
    private var alphas: [String: Double] = [:]
    private var ranks: [String: Double] = [:]

    /// Settings of a file in which all scales are said by keys.
    init() {}

    /// Reads settings.
    ///
    /// - Parameters:
    ///   - data: A JSON object, whose keys may have a network's name as a prefix.
    ///   - place: Where it was found, for messages.
    init(_ data: Data, _ place: String) throws(SwanError) {
        guard data.count <= SmallFile.configuration else {
            throw SwanError(.invalidFile, "\(place): is larger than 1 MiB")
        }
        let values: [String: Any]
        do {
            let found = try JSONSerialization.jsonObject(with: data)
            values = Self.unprefixed(found as? [String: Any] ?? [:])
        } catch {
            throw SwanError(.invalidFile, "\(place): is not valid JSON")
        }
        try Self.requireOwnBase(values, place)
        // LoKr and LoHa have `alpha`.
        alpha = try Self.number(values["lora_alpha"] ?? values["alpha"], "lora_alpha", place)
        rank = try Self.number(values["r"], "r", place)
        isRankStabilized = values["use_rslora"] as? Bool ?? false
        alphas = try Self.pattern(values, "alpha_pattern", place)
        ranks = try Self.pattern(values, "rank_pattern", place)
    }

    /// The settings with the prefix of the first transformer, or else of another network, removed.
    private static func unprefixed(_ values: [String: Any]) -> [String: Any] {
        var plain: [String: Any] = [:]
        for key in values.keys.sorted(by: >) {
            let name = key.split(separator: ".").last.map(String.init) ?? key
            let isFirst = key == name || key == "transformer.\(name)"
            if isFirst || plain[name] == nil { plain[name] = values[key] }
        }
        return plain
    }

    /// Throws for adapters to weights that are not those of the model.
    private static func requireOwnBase(
        _ values: [String: Any],
        _ place: String
    ) throws(SwanError) {
        let start = (values["init_lora_weights"] as? String)?.lowercased() ?? ""
        let others = ["pissa", "olora", "loftq", "corda"]
        guard !others.contains(where: { start.hasPrefix($0) }) else {
            throw SwanError(
                .unsupported,
                "\(place): init_lora_weights is \(start.printable()), which also changes the "
                    + "model's own weights; convert the adapter to a usual LoRA with PEFT "
                    + "(path_initial_model_for_weight_conversion)"
            )
        }
        guard values["fan_in_fan_out"] as? Bool != true else {
            throw SwanError(
                .unsupported,
                "\(place): fan_in_fan_out is set, but a Wan model has no transposed matrices"
            )
        }
    }

    private static func number(
        _ value: Any?,
        _ key: String,
        _ place: String
    ) throws(SwanError) -> Double? {
        guard let value, !(value is NSNull) else { return nil }
        guard let number = (value as? NSNumber)?.doubleValue, number.isFinite else {
            throw SwanError(.invalidFile, "\(place): \(key) is not a number")
        }
        return number
    }

    private static func pattern(
        _ values: [String: Any],
        _ key: String,
        _ place: String
    ) throws(SwanError) -> [String: Double] {
        guard let found = values[key] as? [String: Any] else { return [:] }
        var pattern: [String: Double] = [:]
        for (name, value) in found {
            let end = name.replacing("\\.", with: ".").trimmingCharacters(in: ["^", "$"])
            guard !end.contains(where: { "*+?()[]{}|\\".contains($0) }) else {
                throw SwanError(
                    .unsupported,
                    "\(place): \(key) has the expression '\(name.printable())'; only names of "
                        + "modules are supported"
                )
            }
            pattern[end] = try number(value, "\(key).\(name.printable())", place)
        }
        return pattern
    }

    /// The factor of a module's change.
    ///
    /// - Parameters:
    ///   - module: Wan's name.
    ///   - own: The rank that its matrices have; nil if they have none.
    func factor(_ module: String, rank own: Int?) -> Double {
        guard let alpha = Self.exception(alphas, module) ?? alpha,
            let rank = own.map(Double.init) ?? Self.exception(ranks, module) ?? rank, rank > 0
        else { return 1 }
        return alpha / (isRankStabilized ? rank.squareRoot() : rank)
    }

    /// The longest name that a module's ends with decides.
    private static func exception(_ pattern: [String: Double], _ module: String) -> Double? {
        let names = [module, TransformerModuleNames.diffusers(module)]
        let matching = pattern.filter { end, _ in
            names.contains { $0 == end || $0.hasSuffix("." + end) }
        }
        return matching.max { ($0.key.count, $0.key) < ($1.key.count, $1.key) }?.value
    }
}
