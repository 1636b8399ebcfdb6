import ArgumentParser
import Foundation
import Logging
import SwanSystem
import Torch

/// How much a command says, and where.
struct LogOptions: ParsableArguments {
    @Flag(
        name: .shortAndLong,
        help: "Say more: versions, devices, files, sizes and how long things take."
    )
    var verbose = false

    @Flag(
        name: .shortAndLong,
        help: "Write only errors to standard error: no progress, notes or warnings."
    )
    var quiet = false

    @Option(
        name: .customLong("log-file"),
        help: ArgumentHelp(
            "Append all messages with their times to this file, also with --quiet.",
            valueName: "file"
        ),
        completion: .file()
    )
    var logFile: String?

    func validate() throws {
        guard !verbose || !quiet else {
            throw ValidationError("--verbose and --quiet cannot both be given")
        }
        guard logFile != "" else { throw ValidationError("the path of the log file is empty") }
    }
}

/// A command that takes long enough for its messages to matter.
protocol LoggedCommand: ParsableCommand {
    var logging: LogOptions { get }
    /// The least important messages of the libraries that are written, without `--verbose`.
    var logLevel: LogLevel { get }
}

extension LoggedCommand {
    var logLevel: LogLevel { .info }

    /// Sends messages where the options say. Call this once.
    func startLogging() throws {
        let terminal = Terminal.standardError
        if logging.quiet { terminal.show(.error) }
        if let path = logging.logFile {
            try Self.requireOwn(path)
            terminal.record(in: try LogFile(path))
        }
        let level = logging.verbose ? min(.debug, logLevel.level) : logLevel.level
        LoggingSystem.bootstrap { TerminalLog(label: $0, logLevel: level) }
        let log = Logger(label: "swan")
        log.debug("swan \(SwanVersion.text), libtorch \(Engine.version), process \(getpid())")
        let arguments = CommandLine.arguments.dropFirst().map { Self.shown($0) }
        let words = (["swan"] + arguments).joined(separator: " ")
        if logging.verbose { log.debug("\(words)") } else { terminal.record(words) }
    }

    /// Throws if another argument names the log file, before anything is appended to it.
    private static func requireOwn(_ path: String) throws(SwanError) {
        let named = CommandLine.arguments.dropFirst().filter { argument in
            [argument, argument.split(separator: "=", maxSplits: 1).last.map(String.init)]
                .contains(path)
        }
        guard named.count > 1 else { return }
        throw SwanError(
            .isInput,
            "\(path): is named twice, for the log and for something else; use different files"
        )
    }

    /// An argument without the password of a URL, in quotes if it has spaces.
    private static func shown(_ argument: String) -> String {
        let text = argument.replacing(#/:\/\/[^\/@\s]*@/#, with: "://…@").printable(limit: 1_000)
        return text.isEmpty || text.contains(where: { " '\"$&|;<>*?".contains($0) })
            ? "'\(text)'" : text
    }
}
