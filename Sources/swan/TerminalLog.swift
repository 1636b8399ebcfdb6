import Logging

/// Writes the messages of libraries to standard error, above the progress bar, and to the log file.
struct TerminalLog: LogHandler {
    let label: String
    var logLevel = Logger.Level.info
    var metadata: Logger.Metadata = [:]

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let all = metadata.merging(event.metadata ?? [:]) { $1 }.mapValues { "\($0)" }
        Terminal.standardError.write(event.level, "\(event.message)", label: label, details: all)
    }
}
