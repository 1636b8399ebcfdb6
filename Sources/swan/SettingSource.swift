import Configuration
import Foundation
import SwanCheckpoints
import SwanSystem

/// Settings from the environment or from a file.
struct SettingSource {
    private let values: any ConfigSnapshot
    private let prefix: [String]
    /// The file; nil for the environment.
    private let path: String?
    /// The names of the variables.
    private let names: [String]
    /// The keys as they are written, by option, where that is not the option's name.
    private var spellings: [String: String] = [:]

    /// Whether this is a file.
    var isFile: Bool { path != nil }

    /// The key of an option as it is written.
    func spelling(of option: String) -> String { spellings[option] ?? option }

    private init(
        values: any ConfigSnapshot,
        prefix: [String],
        path: String?,
        names: [String],
        spellings: [String: String] = [:]
    ) {
        self.values = values
        self.prefix = prefix
        self.path = path
        self.names = names
        self.spellings = spellings
    }

    /// The variables `SWAN_…`; an empty one is as good as none.
    static func environment(_ variables: [String: String]) -> SettingSource {
        let own = variables.filter {
            $0.key.hasPrefix("SWAN_") && !$0.key.hasPrefix("SWAN_LAUNCH") && !$0.value.isEmpty
        }
        let provider = EnvironmentVariablesProvider(
            environmentVariables: own,
            secretsSpecifier: .specific(["SWAN_TOKEN"])
        )
        return SettingSource(
            values: provider.snapshot(),
            prefix: ["swan"],
            path: nil,
            names: own.keys.sorted()
        )
    }

    /// A file in YAML. Throws if it has a key that is not known.
    static func file(_ path: String, known: [String]) throws(SwanError) -> SettingSource {
        let text = try SmallFile.text(path)
        do {
            // The keys of this text are few and not nested, whatever else a file may hold.
            let keys = try StrictYAML.flatKeys(text)
            for key in keys where !known.contains(key) {
                throw SwanError(
                    .invalidConfiguration,
                    "\(path): unknown key '\(key.printable())'\(suggestion(for: key, in: known))"
                )
            }
            return try file(path, text: text, keys: keys, section: nil)
        } catch let error as SwanError {
            throw error
        } catch {
            throw SwanError(.invalidConfiguration, "\(path): \(error)", cause: error)
        }
    }

    /// Keys of a file in YAML that was read.
    ///
    /// - Parameters:
    ///   - keys: The keys as they are written.
    ///   - section: The key that they are below; nil for those of the whole file.
    static func file(
        _ path: String,
        text: String,
        keys: [String],
        section: String?
    ) throws(SwanError) -> SettingSource {
        let options = YAMLSnapshot.ParsingOptions(
            secretsSpecifier: .specific([ServeSettings.token])
        )
        let data = Data((keys.isEmpty ? "{}" : text).utf8)
        do {
            return SettingSource(
                values: try YAMLSnapshot(
                    data: data.bytes,
                    providerName: path,
                    parsingOptions: options
                ),
                prefix: section.map { [$0] } ?? [],
                path: path,
                names: [],
                spellings: Dictionary(
                    keys.map { (SettingFile.option($0), $0) },
                    uniquingKeysWith: { first, _ in first }
                )
            )
        } catch {
            throw SwanError(.invalidConfiguration, "\(path): \(error)", cause: error)
        }
    }

    /// The values of a setting; nil if there is none.
    func texts(_ name: String, _ kind: ServeSetting.Kind) throws(SwanError) -> [String]? {
        let key = AbsoluteConfigKey(prefix + [name])
        do {
            switch kind {
            case .whole: return try value(key, .int).map { ["\($0)"] }
            case .number: return try value(key, .double).map { [$0] }
            case .text: return try value(key, .string).map { [$0] }
            case .flag: return try value(key, .bool).map { [$0] }
            case .list: return try list(key)
            case .names:
                // A text of its own is not a list.
                if let text = try? value(key, .string) { return [text] }
                return try list(key).map { [$0.joined(separator: ",")] }
            }
        } catch {
            throw SwanError(
                .invalidConfiguration,
                "\(place(of: name)) must be \(kind.rawValue)",
                cause: error
            )
        }
    }

    /// Whether there is a value of any kind.
    func contains(_ name: String) -> Bool {
        let kinds: [ServeSetting.Kind] = [.text, .list]
        return kinds.contains { ((try? texts(name, $0)) ?? nil) != nil }
    }

    private func list(_ key: AbsoluteConfigKey) throws -> [String]? {
        guard
            case .stringArray(let texts) = try values.value(forKey: key, type: .stringArray)
                .value?.content
        else { return nil }
        return texts
    }

    private func value(_ key: AbsoluteConfigKey, _ type: ConfigType) throws -> String? {
        switch try values.value(forKey: key, type: type).value?.content {
        case .int(let number): "\(number)"
        case .double(let number): "\(number)"
        case .bool(let isOn): "\(isOn)"
        case .string(let text): text
        default: nil
        }
    }

    /// A setting and its source, for messages: `serve.yaml: port`, `SWAN_PORT`.
    func place(of name: String) -> String {
        path.map { "\($0): \((isFile ? prefix : []).map { $0 + "." }.joined())\(name)" }
            ?? Self.variable(name)
    }

    /// The variables that are no settings, each with the nearest one.
    func unknownNames(known: [String]) -> [String] {
        let variables = known.map { Self.variable($0) }
        return names.filter { !variables.contains($0) }.map { name in
            let hint = nearestName(to: name, in: variables).map { "; did you mean \($0)?" } ?? ""
            return "\(name) is not a setting\(hint)"
        }
    }

    private static func variable(_ name: String) -> String {
        "SWAN_" + name.uppercased().replacing("-", with: "_")
    }
}
