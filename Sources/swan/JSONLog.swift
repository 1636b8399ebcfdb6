import ArgumentParser
import Foundation
import Logging

/// How the server writes its log.
enum LogFormat: String, ExpressibleByArgument, CaseIterable, Sendable {
    case text, json
}

/// The least important messages that are logged.
enum LogLevel: String, ExpressibleByArgument, CaseIterable, Sendable {
    case trace, debug, info, notice, warning, error

    var level: Logger.Level { Logger.Level(rawValue: rawValue) ?? .info }
}

/// Writes log messages to standard error, each as a JSON object on a line.
struct JSONLog: LogHandler {
    let label: String
    var logLevel: Logger.Level
    var metadata: Logger.Metadata = [:]

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let all = metadata.merging(event.metadata ?? [:]) { $1 }
        Terminal.standardError.write(
            line: LogLine(
                level: event.level,
                label: label,
                message: "\(event.message)",
                metadata: all.isEmpty ? nil : all.mapValues { "\($0)" }
            ).text
        )
    }
}

/// A line of the log as JSON.
struct LogLine: Encodable {
    let time: String
    let level: String
    let label: String
    let message: String
    let metadata: [String: String]?

    init(level: Logger.Level, label: String, message: String, metadata: [String: String]? = nil) {
        time = Date.now.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
        self.level = level.rawValue
        self.label = label
        self.message = message
        self.metadata = metadata
    }

    /// The object, without a line break.
    var text: String { String(JSONLine.text(self).dropLast()) }
}
