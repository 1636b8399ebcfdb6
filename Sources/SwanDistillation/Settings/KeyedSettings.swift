import SwanCheckpoints
import SwanSystem
import Yams

/// The keys of a file of settings.
protocol NamedSetting: RawRepresentable<String>, CaseIterable, Hashable {
    /// Keys of the references that do nothing here, and why.
    static var dead: [String: String] { get }
}

extension NamedSetting {
    /// All names, of dead keys too.
    static var names: [String] { allCases.map(\.rawValue) + dead.keys.sorted() }
}

/// What a file of settings says.
struct KeyedSettings<Key: NamedSetting> {
    let values: [Key: SettingValue]
    /// Which keys do nothing, and why.
    let notes: [String]

    /// Reads YAML.
    ///
    /// - Throws: `invalidRecipe` for text that has no keys, and for an unknown key with the nearest one.
    init(yaml text: String) throws(SwanError) {
        let node: Node?
        do {
            node = try StrictYAML.compose(text)
        } catch {
            throw SwanError(.invalidRecipe, error.description, cause: error)
        }
        guard let mapping = node?.mapping else {
            throw SwanError(.invalidRecipe, "the file has no keys with values")
        }
        try self.init(mapping)
    }

    /// Reads keys with values; those without are as good as missing.
    init(_ mapping: Node.Mapping) throws(SwanError) {
        var values: [Key: SettingValue] = [:]
        var dead: [String: [String]] = [:]
        for (key, value) in mapping where value.null == nil {
            let name = key.string ?? ""
            if let reason = Key.dead[name] {
                dead[reason, default: []].append(name)
            } else if let key = Key(rawValue: name) {
                values[key] = SettingValue(name: name, node: value)
            } else {
                throw SwanError(
                    .invalidRecipe,
                    "unknown key '\(name.printable())'"
                        + suggestion(for: name, in: Key.names)
                )
            }
        }
        self.values = values
        notes = dead.sorted { $0.key < $1.key }.map { reason, names in
            "no effect of \(names.sorted().joined(separator: ", ")): \(reason)"
        }
    }

    /// Throws `invalidRecipe` if one of these keys is missing.
    func require(_ keys: [Key]) throws(SwanError) {
        for key in keys where values[key] == nil {
            throw SwanError(.invalidRecipe, "the key '\(key.rawValue)' is missing")
        }
    }
}
