import Foundation
import Logging
import Synchronization
import Torch
import SwanSystem

/// Writes lines to standard error, with an optional progress bar below them.
final class Terminal: Sendable {
    /// The kind of a message.
    enum Kind: String {
        case note, warning, error

        var level: Logger.Level {
            switch self {
            case .note: .notice
            case .warning: .warning
            case .error: .error
            }
        }
    }

    /// The output format.
    enum Format {
        case text
        /// One JSON object per line.
        case json
        /// One JSON object per line, as in the log of a server.
        case log
    }

    private struct State {
        var format = Format.text
        /// The bar as drawn on the last line.
        var bar = ""
        /// The least important messages that are shown; the log file has more.
        var least = Logger.Level.trace
        var file: LogFile?
    }

    static let standardError = Terminal()

    /// Whether standard error is a terminal that can show a progress bar.
    let isInteractive: Bool
    private let state = Mutex(State())

    private init() {
        let type = ProcessInfo.processInfo.environment["TERM"] ?? ""
        isInteractive = isatty(STDERR_FILENO) == 1 && type != "dumb" && !type.isEmpty
    }

    /// Sets the output format.
    func use(_ format: Format) {
        state.withLock { $0.format = format }
    }

    /// Shows only messages that are at least as important.
    func show(_ least: Logger.Level) {
        state.withLock { $0.least = least }
    }

    /// Whether only errors are shown.
    var isQuiet: Bool { state.withLock { $0.least >= .error } }

    /// Also appends all messages to a file.
    func record(in file: LogFile) {
        state.withLock { $0.file = file }
    }

    /// The path of the log file.
    var logPath: String? { state.withLock { $0.file?.path } }

    /// Appends a message to the log file alone.
    func record(_ message: String, level: Logger.Level = .info) {
        guard Ranks.quietRank == nil else { return }
        let message = Self.shown(message)
        state.withLock { append(level, message, label: "swan", details: [:], &$0) }
    }

    /// Writes a message above the bar.
    func write(kind: Kind, _ message: String) {
        write(kind.level, message, label: "swan", details: [:])
    }

    /// Writes a message above the bar, and to the log file.
    ///
    /// Of several ranks, only rank 0 writes other messages than errors.
    ///
    /// - Parameters:
    ///   - label: The part of the program that it comes from.
    ///   - details: Further facts, by name.
    func write(
        _ level: Logger.Level,
        _ message: String,
        label: String,
        details: [String: String]
    ) {
        guard Ranks.quietRank == nil || level >= .error else { return }
        let origin = level >= .error ? Ranks.rank.map { "rank \($0): " } ?? "" : ""
        let message = Self.shown(origin + message)
        state.withLock { state in
            append(level, message, label: label, details: details, &state)
            guard level >= state.least else { return }
            switch state.format {
            case .text:
                let text = Self.prefix(level) + message + Self.suffix(details)
                put(clearing(state.bar) + text + "\n" + state.bar)
            case .json:
                let text = message + Self.suffix(details)
                put(JSONLine.text(JSONLine.Message(event: Self.event(level), message: text)))
            case .log:
                put(LogLine(level: level, label: label, message: message, details).text + "\n")
            }
        }
    }

    /// Names from files and arguments are in a message, which may be anything.
    private static func shown(_ message: String) -> String {
        ArgumentNames.escaped(in: message).printable(limit: 16_000, keepsLines: true)
    }

    private static func prefix(_ level: Logger.Level) -> String {
        event(level) == "note" ? "swan: " : "swan: \(event(level)): "
    }

    /// What a message is called, in text and in JSON.
    private static func event(_ level: Logger.Level) -> String {
        switch level {
        case .trace, .debug: "debug"
        case .info, .notice: "note"
        case .warning: "warning"
        case .error, .critical: "error"
        }
    }

    private static func suffix(_ details: [String: String]) -> String {
        guard !details.isEmpty else { return "" }
        let all = details.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }
        return " (\(all.joined(separator: ", ")))"
    }

    private func append(
        _ level: Logger.Level,
        _ message: String,
        label: String,
        details: [String: String],
        _ state: inout State
    ) {
        guard let file = state.file else { return }
        let isWritten =
            state.format == .log
            ? file.append(
                line: LogLine(level: level, label: label, message: message, details).text
            )
            : file.append(level, message + Self.suffix(details))
        guard !isWritten else { return }
        let reason = String(cString: strerror(errno))
        state.file = nil
        put(clearing(state.bar) + "swan: warning: \(file.path): \(reason); the log ends here\n")
    }

    /// Writes a question without a line break, so that the answer follows it.
    func write(prompt: String) {
        guard Ranks.quietRank == nil else { return }
        let prompt = ArgumentNames.escaped(in: prompt).printable(limit: 16_000, keepsLines: true)
        state.withLock { put(clearing($0.bar) + prompt) }
    }

    /// Writes a line verbatim.
    func write(line: String) {
        guard Ranks.quietRank == nil else { return }
        state.withLock { put(clearing($0.bar) + line + "\n" + $0.bar) }
    }

    /// Redraws the bar with the text for the given number of columns.
    func draw(_ text: (_ columns: Int) -> String) {
        guard Ranks.quietRank == nil else { return }
        state.withLock { state in
            // Leave the last column free: a terminal may wrap the line after it.
            let bar = text(max(1, columns - 1))
            put(clearing(state.bar) + bar)
            state.bar = bar
        }
    }

    /// Removes the bar.
    func clear() {
        state.withLock { state in
            put(clearing(state.bar))
            state.bar = ""
        }
    }

    /// The current number of columns.
    var columns: Int {
        var size = winsize()
        guard ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
        return Int(size.ws_col)
    }

    /// Control codes that clear the bar, even if a narrower window has wrapped it.
    private func clearing(_ bar: String) -> String {
        guard !bar.isEmpty else { return "" }
        let rows = (bar.count - 1) / columns
        return (rows > 0 ? "\u{1B}[\(rows)A" : "") + "\r\u{1B}[J"
    }

    private func put(_ text: String) {
        // Ignore errors: if standard error is closed, there is nowhere to report it.
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes {
                Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count)
            }
            guard count > 0 || errno == EINTR else { return }
            bytes = bytes.dropFirst(max(0, count))
        }
    }
}

/// JSON objects, one per line.
enum JSONLine {
    /// A message.
    struct Message: Encodable {
        let event: String
        let message: String
    }

    /// The object as text with sorted keys, followed by a line break.
    static func text(_ value: some Encodable) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        do {
            return String(decoding: try encoder.encode(value), as: UTF8.self) + "\n"
        } catch {
            // Encoding fails only for non-finite numbers.
            return "{\"event\":\"error\",\"message\":\"a number is not finite\"}\n"
        }
    }
}
