import Foundation
import SwanCheckpoints
import SwanSystem

/// Options of a command that are not on the command line: from the environment, then from the file that
/// `--settings` names, then from the user's own file.
struct CommandSettings {
    /// The commands whose options may stand elsewhere; `ServeSettings` has those of the server.
    static let commands = ["stream", "generate", "train"]
    /// Options that are about one call or about the settings themselves.
    private static let excluded = ["help", "version", "settings"]
    /// Options of which only one may be given.
    private static let rivals = [
        "prompt": "prompts", "prompts": "prompt", "verbose": "quiet", "quiet": "verbose",
    ]

    private let name: String
    private let options: [CommandTree.Argument]
    private let read: ReadArguments
    /// The arguments behind the command's name, without a `--config` that is a file of options.
    private let given: [String]
    private let sources: [SettingSource]

    /// Reads the environment and the files; nil if the arguments are of another command.
    ///
    /// - Throws: `invalidConfiguration` for a file with an unknown key, with the nearest one.
    init?(
        _ arguments: [String],
        environment: [String: String] = ProcessInfo.processInfo.environment
    ) throws(SwanError) {
        guard let name = arguments.first, Self.commands.contains(name) else { return nil }
        // The tree takes a moment to make, and most calls need none.
        let variables = environment.filter { $0.key.hasPrefix("SWAN_") }
        let mayName = arguments.contains { $0.hasPrefix("--settings") || $0.hasPrefix("--config") }
        let own = SettingFile.userPath(environment)
        guard mayName || !variables.isEmpty || own != nil,
            let root = CommandTree.program?.command, let command = root.subcommand(name)
        else { return nil }
        self.name = name
        options = Self.options(of: command)
        read = ReadArguments(arguments, of: root)
        var sources = [SettingSource.environment(environment)]
        var given = Array(arguments.dropFirst())
        var file = read.options.last { $0.option.key == "settings" }?.value
        if file == nil, let config = read.options.last(where: { $0.option.key == "config" }),
            let path = config.value, SettingFile.holdsOptions(path, options.compactMap(\.key))
        {
            file = path
            given = Self.removing(config.spelling, from: given)
        }
        if let file {
            sources += try SettingFile(file, of: name, in: root, isShared: false).sources
        }
        if let own { sources += try SettingFile(own, of: name, in: root, isShared: true).sources }
        (self.sources, self.given) = (sources, given)
    }

    /// The options of a command that files may hold.
    static func options(of command: CommandTree.Command) -> [CommandTree.Argument] {
        (command.arguments ?? []).filter { argument in
            argument.key.map { !excluded.contains($0) } ?? false
        }
    }

    private static func removing(_ option: String, from arguments: [String]) -> [String] {
        var arguments = arguments
        if let index = arguments.firstIndex(of: option) {
            arguments.removeSubrange(index..<min(index + 2, arguments.count))
        }
        arguments.removeAll { $0.hasPrefix(option + "=") }
        return arguments
    }

    /// The whole arguments: the command's name, what the settings add, and what was given.
    func arguments() throws(SwanError) -> [String] {
        var further: [String] = []
        for option in options {
            guard let source = try source(of: option) else { continue }
            let values = try source.values(of: option)
            guard let key = option.key else { continue }
            switch option.kind {
            case .positional: further += values
            case .option: further += values.map { "--\(key)=\($0)" }
            case .flag:
                let opposite = "--no-\(key)"
                if values == ["true"] {
                    further.append("--\(key)")
                } else if options.contains(where: { $0.spellings.contains(opposite) }) {
                    further.append(opposite)
                }
            }
        }
        return [name] + further + given
    }

    /// The options that come from elsewhere, with their dashes, and from where.
    var origins: [(option: String, place: String)] {
        options.compactMap { option in
            guard let key = option.key, let source = (try? source(of: option)) ?? nil else {
                return nil
            }
            return ("--\(key)", source.place(of: source.spelling(of: key)))
        }
    }

    /// Warns of variables that are probably misspelled settings.
    static func warnOfVariables(_ arguments: [String]) {
        let variables = ProcessInfo.processInfo.environment.filter { $0.key.hasPrefix("SWAN_") }
        guard let name = arguments.first, commands.contains(name), !variables.isEmpty,
            let root = CommandTree.program?.command
        else { return }
        let known = (commands + ["serve"]).compactMap { root.subcommand($0) }
            .flatMap(options).compactMap(\.key)
        let names = SettingSource.environment(variables)
            .unknownNames(known: known + [ServeSettings.token, "settings"])
        for name in names where name.contains("did you mean") {
            Terminal.standardError.write(kind: .warning, name)
        }
    }

    /// The source of an option; nil if the command line has it or its rival, or nothing has.
    private func source(of option: CommandTree.Argument) throws(SwanError) -> SettingSource? {
        guard let key = option.key else { return nil }
        let names = [
            key, Self.rivals[key], key.hasPrefix("no-") ? String(key.dropFirst(3)) : nil,
            "no-" + key,
        ].compactMap(\.self)
        var taken = Set(read.options.compactMap(\.option.key))
        // The input of a stream may stand alone.
        if !read.positionals.isEmpty {
            taken.formUnion(options.filter { $0.kind == .positional }.compactMap(\.key))
        }
        guard taken.isDisjoint(with: names) else { return nil }
        // An option of the same name says it with its name.
        if option.kind == .positional,
            options.contains(where: { $0.kind != .positional && $0.key == key })
        {
            return nil
        }
        for source in sources {
            if try !source.values(of: option).isEmpty { return source }
            if let rival = Self.rivals[key], source.contains(rival) { return nil }
        }
        return nil
    }
}

extension SettingSource {
    /// The values of an option: none, one, or those of a list.
    func values(of option: CommandTree.Argument) throws(SwanError) -> [String] {
        guard let key = option.key else { return [] }
        let name = spelling(of: key)
        switch option.kind {
        case .flag: return try texts(name, .flag) ?? []
        case .option, .positional:
            if !option.isRepeating { return try texts(name, .text)?.map(Self.expanded) ?? [] }
            // One value of a list may stand alone in a file; in the environment, commas are between them.
            if isFile, let text = try? texts(name, .text) { return text.map(Self.expanded) }
            return try texts(name, .list)?.map(Self.expanded) ?? []
        }
    }

    /// A path below the home folder as shells write it.
    private static func expanded(_ text: String) -> String {
        text.hasPrefix("~/") ? NSString(string: text).expandingTildeInPath : text
    }
}
