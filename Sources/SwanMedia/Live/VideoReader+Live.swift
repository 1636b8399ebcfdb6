import CMedia
import Glibc
public import SwanSystem

extension VideoReader {
    /// Options for reading from a live source.
    public struct LiveOptions: Sendable {
        /// The frame rate to ask a camera or a screen for; `nil` for its own.
        public var frameRate: Rational?
        /// How long to wait for a connection, in seconds. A listening source waits without limit.
        public var connectSeconds = 10.0
        /// How long to wait for the next frame, in seconds.
        public var readSeconds = 10.0

        /// Creates options with defaults.
        public init() {}
    }

    /// Opens a device, a screen or a network address, and decodes its first frame.
    ///
    /// Throws `deviceUnavailable` if it cannot be reached, and `noSuchFile` for a device that does not exist.
    public convenience init(
        live location: MediaLocation,
        options: LiveOptions = LiveOptions(),
        cancellation: MediaCancellation
    ) throws(SwanError) {
        let name = location.description
        let source = try LiveInput(location, options)
        var limits = cm_reader_options()
        var opened: OpaquePointer?
        do throws(SwanError) {
            try calling(name) { error in
                source.withC(options, cancellation) {
                    cm_reader_open_live(&opened, source.url, $0, &limits, error)
                }
            }
        } catch {
            throw source.explained(error)
        }
        guard let opened else {
            throw SwanError(.outOfMemory, "\(name): out of memory for a reader")
        }
        self.init(DecodedFrames(name: name, opened, keeping: cancellation), frameRate: nil)
    }
}

/// A live source in FFmpeg's terms.
private struct LiveInput {
    let name: String
    let url: String
    /// FFmpeg's input device; `nil` for the network.
    var device: String?
    var formats = ""
    var protocols = ""
    var named = ""
    var settings: [String] = []
    var waitsForever = false

    init(_ location: MediaLocation, _ options: VideoReader.LiveOptions) throws(SwanError) {
        name = location.description
        let rate = options.frameRate.map { ["framerate=\($0)"] } ?? []
        switch location {
        case .file(let path):
            throw SwanError(.invalidArgument, "\(path): is a file, not a live source")
        case .device(let camera):
            try camera.check(writing: false)
            (url, device) = (camera.path, "video4linux2")
            settings = rate + (camera.size.map { ["video_size=\($0)"] } ?? [])
            settings += camera.format.map { ["input_format=\($0)"] } ?? []
        case .screen(let region):
            let display = getenv("DISPLAY").map { String(cString: $0) }
            guard let display = region.display ?? display else {
                throw SwanError(
                    .deviceUnavailable,
                    "\(name): there is no X display: DISPLAY is not set; name one, such as screen::0"
                )
            }
            (url, device) = (region.grabbed(from: display), "x11grab")
            settings = rate + (region.size.map { ["video_size=\($0)"] } ?? [])
        case .network(let address):
            url = address.url
            formats = address.scheme.formats
            protocols = address.scheme.protocols
            named = address.scheme.named ?? address.scheme.name
            settings = address.scheme.sourceSettings
            waitsForever = address.waitsForSender
            if address.isListening, case .option(let source, _) = address.scheme.listening {
                settings.append(source)
            }
        }
    }

    func withC(
        _ options: VideoReader.LiveOptions,
        _ cancellation: MediaCancellation,
        _ body: (UnsafePointer<cm_live_options>) -> cm_code
    ) -> cm_code {
        var live = cm_live_options()
        live.connect_seconds = waitsForever ? 1e9 : options.connectSeconds
        live.read_seconds = options.readSeconds
        live.verifies_tls = true
        live.cancelled = cancellation.flag
        return withCString(device) { device in
            formats.withCString { formats in
                protocols.withCString { protocols in
                    named.withCString { named in
                        settings.joined(separator: "\n").withCString { settings in
                            live.device = device
                            (live.formats, live.protocols) = (formats, protocols)
                            (live.named, live.settings) = (named, settings)
                            return body(&live)
                        }
                    }
                }
            }
        }
    }

    /// An error with what it means for a screen.
    func explained(_ error: SwanError) -> SwanError {
        guard device == "x11grab", error.code == .deviceUnavailable else { return error }
        return SwanError(
            error.code,
            """
            \(error.message); check that the X display \(url.prefix { $0 != "+" }) exists and admits \
            you, and that the region lies on it
            """,
            cause: error
        )
    }
}

private func withCString<Value>(
    _ text: String?,
    _ body: (UnsafePointer<CChar>?) -> Value
) -> Value {
    guard let text else { return body(nil) }
    return text.withCString { body($0) }
}
