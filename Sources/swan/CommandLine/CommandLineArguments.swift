import Foundation
import SwanSystem

/// The arguments of this process, with what the environment and files add to them.
enum CommandLineArguments {
    /// Adds the settings that a command has from elsewhere; what is on the command line stays and wins.
    static func completed(_ arguments: [String]) throws(SwanError) -> [String] {
        let isHelp = arguments.prefix { $0 != "--" }.contains { ["-h", "--help"].contains($0) }
        guard let name = arguments.first, !isHelp else { return arguments }
        if name == "serve" { return try ServeSettings.adding(to: arguments) }
        guard let settings = try CommandSettings(arguments) else { return arguments }
        return try settings.arguments()
    }

    /// Says where the options in a parser's message come from, if not from the command line.
    static func explain(_ message: String, _ arguments: [String]) {
        if arguments.first == "serve" {
            return ServeSettings.explain(message, arguments: arguments)
        }
        // A file that cannot be read is what the message is about.
        guard let settings = try? CommandSettings(arguments) else { return }
        for (option, place) in settings.origins where message.contains("'\(option)") {
            Terminal.standardError.write(kind: .note, "\(option) comes from \(place)")
        }
    }
}
