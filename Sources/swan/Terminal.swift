import Foundation
import Synchronization
import Torch

/// Standard error: lines of text, and at most one line at the end that is drawn again and again.
final class Terminal: Sendable {
    /// What a line is.
    enum Kind: String {
        case note, warning, error
    }

    /// How lines are written.
    enum Form {
        case text
        /// One JSON object a line.
        case json
    }

    private struct State {
        var form = Form.text
        /// What stands in the last line, as far as it was drawn.
        var bar = ""
    }

    static let standardError = Terminal()

    /// Whether someone looks at it who can be shown a moving line.
    let isInteractive: Bool
    private let state = Mutex(State())

    private init() {
        let type = ProcessInfo.processInfo.environment["TERM"] ?? ""
        isInteractive = isatty(STDERR_FILENO) == 1 && type != "dumb" && !type.isEmpty
    }

    /// How lines are written from now on.
    func use(_ form: Form) {
        state.withLock { $0.form = form }
    }

    /// Writes a line above the bar.
    func write(kind: Kind, _ message: String) {
        // Names from files are in it, which may be anything.
        let message = message.printable(limit: 16_000, keepsLines: true)
        state.withLock { state in
            switch state.form {
            case .text:
                let prefix = kind == .note ? "swan: " : "swan: \(kind.rawValue): "
                put(clearing(state.bar) + prefix + message + "\n" + state.bar)
            case .json:
                put(JSONLine.text(JSONLine.Message(event: kind.rawValue, message: message)))
            }
        }
    }

    /// Writes a question, behind which the answer is typed.
    func write(prompt: String) {
        state.withLock { put(clearing($0.bar) + prompt) }
    }

    /// Writes a line as it is.
    func write(line: String) {
        state.withLock { put(clearing($0.bar) + line + "\n" + $0.bar) }
    }

    /// Draws the bar anew; `text` makes it for so many columns.
    func draw(_ text: (_ columns: Int) -> String) {
        state.withLock { state in
            // The last column stays free: a terminal may break the line behind it.
            let bar = text(max(1, columns - 1))
            put(clearing(state.bar) + bar)
            state.bar = bar
        }
    }

    /// Takes the bar away.
    func clear() {
        state.withLock { state in
            put(clearing(state.bar))
            state.bar = ""
        }
    }

    /// Columns at this moment: windows change.
    var columns: Int {
        var size = winsize()
        guard ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
        return Int(size.ws_col)
    }

    /// Goes to the bar's beginning and clears it, also where a narrower window has broken it.
    private func clearing(_ bar: String) -> String {
        guard !bar.isEmpty else { return "" }
        let rows = (bar.count - 1) / columns
        return (rows > 0 ? "\u{1B}[\(rows)A" : "") + "\r\u{1B}[J"
    }

    private func put(_ text: String) {
        // Whoever closed standard error does not want to hear that it is closed.
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

/// JSON objects, one a line.
enum JSONLine {
    /// A message as an object.
    struct Message: Encodable {
        let event: String
        let message: String
    }

    /// The object as text, keys sorted, with its line break.
    static func text(_ value: some Encodable) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        do {
            return String(decoding: try encoder.encode(value), as: UTF8.self) + "\n"
        } catch {
            // Only numbers that JSON cannot hold get here.
            return "{\"event\":\"error\",\"message\":\"a number is not finite\"}\n"
        }
    }
}
