import Foundation
import SwanCheckpoints
import SwanSystem

/// A file with options of commands: of all that have them, or below a command's name of that one alone.
struct SettingFile {
    /// The commands whose options may be in a file.
    private static let sections = CommandSettings.commands + ["serve"]

    /// What it says for one command, the more particular first.
    let sources: [SettingSource]

    /// Reads a file.
    ///
    /// - Parameters:
    ///   - name: The command that its options are for.
    ///   - isShared: Whether keys of the file may be options of other commands.
    /// - Throws: `invalidConfiguration` for an unknown key, with the nearest one.
    init(
        _ path: String,
        of name: String,
        in root: CommandTree.Command,
        isShared: Bool
    ) throws(SwanError) {
        let text = try SmallFile.text(path)
        func fails(_ reason: String, _ cause: (any Error)? = nil) -> SwanError {
            SwanError(.invalidConfiguration, "\(path): \(reason)", cause: cause)
        }
        let keys: [(name: String, inner: [String]?)]
        do {
            keys = try StrictYAML.keys(text)
        } catch {
            throw fails("\(error)", error)
        }
        func options(_ command: String) -> [String] {
            root.subcommand(command).map(CommandSettings.options)?.compactMap(\.key) ?? []
        }
        func check(_ key: String, _ known: [String], in section: String = "") throws(SwanError) {
            guard !known.contains(Self.option(key)) else { return }
            let hint = suggestion(for: key, in: known)
            throw fails("unknown key '\(section)\(key.printable(limit: 80))'\(hint)")
        }
        let shared = isShared ? Self.sections.flatMap(options) : options(name)
        for key in keys {
            guard let inner = key.inner else {
                try check(key.name, shared)
                continue
            }
            guard Self.sections.contains(key.name) else {
                throw fails(
                    "'\(key.name.printable(limit: 80))' has keys of its own, but is no command"
                        + suggestion(for: key.name, in: Self.sections)
                )
            }
            for name in inner { try check(name, options(key.name), in: key.name + ".") }
        }
        let ofCommand = keys.first { $0.name == name }?.inner ?? []
        let ofAll = keys.filter { $0.inner == nil }.map(\.name)
        sources = [
            try SettingSource.file(path, text: text, keys: ofCommand, section: name),
            try SettingSource.file(path, text: text, keys: ofAll, section: nil),
        ]
    }

    /// The option that a key means: underscores are as good as dashes.
    static func option(_ key: String) -> String { key.replacing("_", with: "-") }

    /// The user's own file, if there is one.
    static func userPath(_ environment: [String: String]) -> String? {
        let home = environment["HOME"].map { $0 + "/.config" }
        let folder = environment["XDG_CONFIG_HOME"].flatMap { $0.hasPrefix("/") ? $0 : nil } ?? home
        guard let path = folder.map({ $0 + "/swan/config.yaml" }),
            FileManager.default.fileExists(atPath: path)
        else { return nil }
        return path
    }

    /// Whether a file has options of a command, and not the configuration of a streaming model.
    static func holdsOptions(_ path: String, _ options: [String]) -> Bool {
        guard let text = try? SmallFile.text(path), let keys = try? StrictYAML.keys(text) else {
            return false
        }
        return keys.contains { key in
            key.inner != nil && sections.contains(key.name)
                || options.contains(option(key.name))
                    && !StreamConfiguration.keys.contains(key.name)
        }
    }
}
