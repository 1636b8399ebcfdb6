import Foundation
import Glibc
import Logging
import SwanSystem

/// A file to which messages are appended, each with its time in UTC. It never grows by anything but whole lines,
/// so that several processes may write to the same one.
final class LogFile: Sendable {
    let path: String
    private let descriptor: Int32

    /// Opens or creates the file.
    ///
    /// - Throws: `cannotWrite` if that fails; `exists` for a file that is not a log, which a typing error would
    ///   otherwise damage.
    init(_ path: String) throws(SwanError) {
        guard Self.isLog(path) else {
            throw SwanError(
                .exists,
                "\(path): exists and is not a log of swan, so nothing is appended to it; choose "
                    + "another file for --log-file"
            )
        }
        self.path = path
        descriptor = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0o644)
        guard descriptor >= 0 else {
            throw SwanError(.cannotWrite, "\(path): \(String(cString: strerror(errno)))")
        }
    }

    deinit { close(descriptor) }

    /// Whether a file is empty, not a regular one, or begins as a log does.
    private static func isLog(_ path: String) -> Bool {
        guard FileIdentity(path)?.isRegularFile == true, let file = fopen(path, "re") else {
            return true
        }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 24)
        let count = fread(&bytes, 1, bytes.count, file)
        let start = String(decoding: bytes.prefix(count), as: UTF8.self)
        return start.isEmpty || start.hasPrefix("{\"label\":\"")
            || start.prefixMatch(of: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/) != nil
    }

    /// Appends a line, or several of which all but the first are indented.
    ///
    /// - Returns: Whether it was written.
    func append(_ level: Logger.Level, _ message: String) -> Bool {
        let time = Date.now.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
        let name = level.rawValue.padding(toLength: 7, withPad: " ", startingAt: 0)
        return append(
            line: "\(time) \(name) \(message.replacing("\n", with: "\n    "))"
        )
    }

    /// Appends a line as it is.
    func append(line: String) -> Bool {
        let bytes = Array((line + "\n").utf8)
        // In one call, so that lines of several processes do not mix.
        return Glibc.write(descriptor, bytes, bytes.count) == bytes.count
    }
}
