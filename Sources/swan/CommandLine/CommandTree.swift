import ArgumentParser
import Foundation
import SwanSystem

/// The program's commands and their options, as the argument parser describes them for other tools.
struct CommandTree: Decodable {
    /// A command, or the program itself.
    struct Command: Decodable {
        let commandName: String
        var subcommands: [Command]?
        var arguments: [Argument]?
        let defaultSubcommand: String?
        let shouldDisplay: Bool?

        /// The command of a name in this one.
        func subcommand(_ name: String) -> Command? {
            subcommands?.first { $0.commandName == name }
        }

        /// The options and flags, without positional arguments.
        var options: [Argument] { (arguments ?? []).filter { $0.kind != .positional } }

        /// The option of a long or short name, with its dashes.
        func option(_ name: String) -> Argument? {
            options.first { $0.spellings.contains(name) }
        }
    }

    /// A positional argument, an option or a flag.
    struct Argument: Decodable {
        enum Kind: String, Decodable { case positional, option, flag }

        struct Name: Decodable {
            let kind: String
            let name: String
            /// The name with its dashes.
            var spelling: String { (kind == "long" ? "--" : "-") + name }
        }

        let kind: Kind
        let names: [Name]?
        let valueName: String?
        let isRepeating: Bool
        let parsingStrategy: String
        let allValues: [String]?
        let shouldDisplay: Bool?

        /// All names with their dashes.
        var spellings: [String] { names?.map(\.spelling) ?? [] }

        /// The long name without dashes; that of its value for a positional argument.
        var key: String? {
            kind == .positional ? valueName : names?.first { $0.kind == "long" }?.name
        }

        /// Whether a value may begin with a dash.
        var takesAnything: Bool { parsingStrategy.hasPrefix("unconditional") }
    }

    let command: Command

    /// The tree of this program.
    static let program: CommandTree? = {
        do {
            let text = Swan._dumpHelp()
            return try JSONDecoder().decode(CommandTree.self, from: Data(text.utf8))
        } catch {
            // The parser's own messages are as good as they can be without it.
            return nil
        }
    }()
}

/// Arguments, assigned to the options of a command.
struct ReadArguments {
    /// The command and those that it is in, the program first.
    private(set) var path: [CommandTree.Command]
    /// The options given, with their values.
    private(set) var options: [(option: CommandTree.Argument, spelling: String, value: String?)] =
        []
    private(set) var positionals: [String] = []
    /// A word where a command was expected, with the command that has none of that name.
    private(set) var unknownCommand: (word: String, parent: CommandTree.Command)?
    /// An option that the command does not have.
    private(set) var unknownOption: String?
    /// What follows `--`.
    private(set) var rest: [String] = []

    /// The command.
    var command: CommandTree.Command { path[path.count - 1] }

    /// Reads arguments up to `--`.
    init(_ arguments: some Sequence<String>, of root: CommandTree.Command) {
        path = [root]
        var left = Array(arguments)[...]
        while let word = left.popFirst() {
            if word == "--" {
                rest = Array(left)
                return
            }
            if word.hasPrefix("-"), word.count > 1, Double(word) == nil {
                readOption(word, &left)
            } else if positionals.isEmpty, let next = command.subcommand(word) {
                path.append(next)
            } else {
                enterDefault(instead: word)
                positionals.append(word)
            }
        }
    }

    /// The words of the command, without the program.
    var words: String { path.dropFirst().map(\.commandName).joined(separator: " ") }

    private mutating func enterDefault(instead word: String? = nil) {
        guard command.subcommands?.isEmpty == false, positionals.isEmpty else { return }
        if let word, unknownCommand == nil { unknownCommand = (word, command) }
        guard let name = command.defaultSubcommand, let next = command.subcommand(name) else {
            return
        }
        path.append(next)
    }

    private mutating func readOption(_ word: String, _ left: inout ArraySlice<String>) {
        let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let spelling = String(parts[0])
        if command.option(spelling) == nil { enterDefault() }
        guard let option = command.option(spelling) else {
            return readLetters(word, spelling, &left)
        }
        var value = parts.count > 1 ? String(parts[1]) : nil
        if option.kind == .option, value == nil,
            let next = left.first, option.takesAnything || !next.hasPrefix("-") || next == "-"
        {
            value = left.popFirst()
        }
        options.append((option, spelling, value))
        // A list goes on to the next option.
        guard option.parsingStrategy == "upToNextOption", parts.count == 1 else { return }
        while let next = left.first, !next.hasPrefix("-") {
            options.append((option, spelling, left.popFirst()))
        }
    }

    /// Reads several flags of a letter each: `-yq`.
    private mutating func readLetters(
        _ word: String,
        _ spelling: String,
        _ left: inout ArraySlice<String>
    ) {
        let letters = word.hasPrefix("--") ? [] : word.dropFirst().map { "-\($0)" }
        let found = letters.compactMap { command.option($0) }
        guard letters.count > 1, found.count == letters.count, let last = found.last,
            found.dropLast().allSatisfy({ $0.kind == .flag })
        else {
            unknownOption = unknownOption ?? spelling
            return
        }
        for (option, letter) in zip(found, letters) {
            options.append(
                (
                    option, letter,
                    last.kind == .option && letter == letters.last
                        ? left.popFirst() : nil
                )
            )
        }
    }
}
