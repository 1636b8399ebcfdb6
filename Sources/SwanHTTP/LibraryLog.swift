import Logging

/// Passes on what the HTTP library logs, without what is no problem: it reports each start and stop as
/// information, and that it was asked to stop as an error.
struct LibraryLog: LogHandler {
    var handler: any LogHandler

    init(_ log: Logger) {
        handler = log.handler
        if log.logLevel == .info { handler.logLevel = .notice }
    }

    var logLevel: Logger.Level {
        get { handler.logLevel }
        set { handler.logLevel = newValue }
    }

    var metadata: Logger.Metadata {
        get { handler.metadata }
        set { handler.metadata = newValue }
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { handler[metadataKey: key] }
        set { handler[metadataKey: key] = newValue }
    }

    func log(event: LogEvent) {
        guard !"\(event.message)".hasSuffix("CancellationError()") else { return }
        handler.log(event: event)
    }
}
