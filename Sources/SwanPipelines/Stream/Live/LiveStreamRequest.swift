public import SwanMedia
public import SwanSystem

/// The settings of a stream with a live source, a live receiver or a window.
public struct LiveStreamRequest: Sendable {
    /// The model, the prompts and the settings; `input` may name any source of `VideoSource`.
    public var stream: FileStreamRequest
    /// The name of the output: a file, or what `MediaLocation` lists; `nil` for the window alone.
    public var output: String?
    /// Whether the frames are shown in a window.
    public var showsWindow = false
    /// How long to try to connect, and to connect again after a loss, in seconds.
    public var reconnectSeconds: Double?
    /// Whether an input that is a file or a pipe is treated as live: frames are dropped, not waited for.
    public var isLive = false
    /// How frames are encoded for a receiver.
    public var sending = LiveWriter.Options()

    /// Creates a request with default settings.
    public init(_ stream: FileStreamRequest, output: String?) {
        self.stream = stream
        self.output = output
        self.stream.output = output ?? Self.window
    }

    /// The name of the window in reports.
    static let window = "window"

    /// Whether a stream between these names needs a `LiveStream`; `FileStream` reads and writes files only.
    public static func isNeeded(input: String?, output: String?) throws(SwanError) -> Bool {
        for name in [input, output] {
            if let name, try MediaLocation(name).isLive { return true }
        }
        return output == nil
    }

    /// The files that the job reads and writes.
    package func files() throws(SwanError) -> JobFiles {
        var files = stream.files
        files.outputs = []
        if let output, try !MediaLocation(output).isLive {
            files.outputs = [
                .video(output, format: stream.format)
            ]
        }
        return files
    }

    /// Throws for anything that is invalid regardless of what the names lead to.
    public func check() throws(SwanError) {
        try stream.check()
        func require(_ holds: Bool, _ message: String) throws(SwanError) {
            if !holds { throw SwanError(.invalidRequest, message) }
        }
        try require(
            stream.input != nil,
            "a live output needs an input; a video from a prompt alone goes to a file"
        )
        try require(
            output != nil || showsWindow,
            "there is no output; name one (-o) or open a window (--show)"
        )
        if let reconnectSeconds {
            try require(
                (0...86_400).contains(reconnectSeconds),
                "the time to reconnect must be 0 to 86400 seconds, not \(reconnectSeconds)"
            )
        }
        if let rate = sending.bitRate {
            try require(
                (10_000...1_000_000_000).contains(rate),
                "the bit rate must be 10k to 1000M bits per second, not \(rate)"
            )
        }
        if let output { try MediaLocation(output).checkAsOutput() }
    }
}
