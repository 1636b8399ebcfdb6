import Logging

/// Writes log messages to standard error, above the progress bar.
struct TerminalLog: LogHandler {
    var logLevel = Logger.Level.info
    var metadata: Logger.Metadata = [:]

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let kind: Terminal.Kind =
            switch event.level {
            case .trace, .debug, .info, .notice: .note
            case .warning: .warning
            case .error, .critical: .error
            }
        let all = metadata.merging(event.metadata ?? [:]) { $1 }
        let details = all.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }
        let suffix = details.isEmpty ? "" : " (\(details.joined(separator: ", ")))"
        Terminal.standardError.write(kind: kind, "\(event.message)\(suffix)")
    }
}
