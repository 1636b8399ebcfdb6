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

/// A line of the log as JSON.
struct LogLine: Encodable {
    let time: String
    let level: String
    let label: String
    let message: String
    let metadata: [String: String]?

    init(
        level: Logger.Level,
        label: String,
        message: String,
        _ details: [String: String] = [:]
    ) {
        time = Date.now.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
        self.level = level.rawValue
        self.label = label
        self.message = message
        metadata = details.isEmpty ? nil : details
    }

    /// The object, without a line break.
    var text: String { String(JSONLine.text(self).dropLast()) }
}
