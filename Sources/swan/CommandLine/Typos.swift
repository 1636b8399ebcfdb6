import SwanCheckpoints
import SwanSystem

/// Finds the misspelled word in a command line that the parser refused.
enum Typos {
    /// The parser's message with the nearest command, option or value, if the command line has one that does not
    /// exist.
    ///
    /// - Parameters:
    ///   - message: The parser's message, with the command's usage in its last lines.
    static func explained(_ message: String, _ arguments: [String]) -> String {
        guard let root = CommandTree.program?.command else { return message }
        var read = ReadArguments(arguments, of: root)
        // The command that several processes run.
        if read.words == "launch", !read.rest.isEmpty {
            let inner = ReadArguments(read.rest, of: root)
            if read.unknownOption == nil { read = inner }
        }
        if let (word, parent) = read.unknownCommand, let found = command(word, parent, read) {
            return found
        }
        if let name = read.unknownOption {
            return option(name, read, root) + "\n" + usage(of: message)
        }
        return value(message, read)
    }

    /// The message about a word in the place of a command; nil if it may be something else.
    private static func command(
        _ word: String,
        _ parent: CommandTree.Command,
        _ read: ReadArguments
    ) -> String? {
        let names = (parent.subcommands ?? []).filter { $0.shouldDisplay ?? true }
            .map(\.commandName)
        let near = nearestName(to: word, in: names)
        // The default command has arguments of its own.
        let places = (read.command.arguments ?? []).filter { $0.kind == .positional }
        guard near != nil || places.isEmpty,
            !places.contains(where: { $0.allValues?.contains(word) ?? false })
        else { return nil }
        let words = (["swan"] + (parent.commandName == "swan" ? [] : [parent.commandName]))
            .joined(separator: " ")
        let hint = near.map { "; did you mean '\(words) \($0)'?" } ?? ""
        return "there is no command '\(words) \(word.printable(limit: 80))'\(hint)\n"
            + "Commands: \(names.joined(separator: ", "))\n  See '\(words) --help' for what they do."
    }

    /// The message about an option that the command does not have.
    private static func option(
        _ name: String,
        _ read: ReadArguments,
        _ root: CommandTree.Command
    ) -> String {
        let spellings = read.command.options.filter { $0.shouldDisplay ?? true }
            .flatMap(\.spellings).filter { $0.hasPrefix("--") }
        let words = read.words.isEmpty ? "swan" : "swan \(read.words)"
        let start = "'\(words)' has no option '\(name.printable(limit: 80))'"
        if let near = nearestName(to: name, in: spellings) {
            return "\(start); did you mean '\(near)'?"
        }
        let others = (root.subcommands ?? []).filter { $0.option(name) != nil }
            .map { "'swan \($0.commandName)'" }
        guard !others.isEmpty, name.hasPrefix("--") else { return start }
        return "\(start); it is one of \(others.prefix(4).joined(separator: ", "))"
    }

    /// The message about a value that is none of a list, with the nearest.
    private static func value(_ message: String, _ read: ReadArguments) -> String {
        let pattern = /The value '(.*)' is invalid for '(--?[^ ]+)? ?(?:<([^>]*)>)?'/
        guard let match = message.firstMatch(of: pattern) else { return message }
        let arguments = read.command.arguments ?? []
        let argument = arguments.first { argument in
            match.2.map { argument.spellings.contains(String($0)) }
                ?? (argument.kind == .positional && argument.valueName == match.3.map(String.init))
        }
        // Of a list, the last name is looked at that is not known.
        let known = argument?.allValues ?? []
        let said =
            String(match.1).split(separator: ",").map(String.init)
            .last { !known.contains($0) } ?? String(match.1)
        guard let near = nearestName(to: said, in: known) else { return message }
        var lines = message.split(separator: "\n", omittingEmptySubsequences: false)
        lines[0] += lines[0].hasSuffix(":") ? "" : " Did you mean '\(near)'?"
        guard lines[0].hasSuffix(":") else { return lines.joined(separator: "\n") }
        let end = lines.firstIndex { $0.hasPrefix("Help:") || $0.hasPrefix("Usage:") }
        lines.insert("Did you mean '\(near)'?", at: end ?? lines.count)
        return lines.joined(separator: "\n")
    }

    /// The lines from the usage on.
    private static func usage(of message: String) -> String {
        message.split(separator: "\n", omittingEmptySubsequences: false)
            .drop { !$0.hasPrefix("Usage:") }.joined(separator: "\n")
    }
}
