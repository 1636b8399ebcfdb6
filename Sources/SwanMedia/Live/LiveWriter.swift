import CMedia
public import SwanSystem
import Synchronization

/// Sends frames as they come: H.264 to a network address, or raw frames to a video device.
public final class LiveWriter: Sendable {
    /// Options for sending.
    public struct Options: Sendable {
        /// Bits per second; `nil` chooses by frame size and rate.
        public var bitRate: Int?
        /// libx264's preset.
        public var preset = "veryfast"
        /// How long to wait for the receiver, in seconds. A listening writer waits for it without limit.
        public var seconds = 10.0

        /// Creates options with defaults.
        public init() {}
    }

    /// The receiver's name in messages.
    public let name: String
    /// FFmpeg's name of the encoder.
    public let encoder: String
    private let width, height: Int
    private let cancellation: MediaCancellation
    /// Used only under the lock.
    nonisolated(unsafe) private let sender: OpaquePointer
    private let lock = Mutex(())

    /// Connects to a receiver.
    ///
    /// Throws `deviceUnavailable` if it cannot be reached, and `invalidRequest` for a location that
    /// nothing can be sent to.
    ///
    /// - Parameter frameRate: The nominal rate; frames have times of their own.
    public init(
        _ location: MediaLocation,
        width: Int,
        height: Int,
        frameRate: Rational,
        options: Options = Options(),
        cancellation: MediaCancellation
    ) throws(SwanError) {
        let target = try LiveTarget(location)
        let name = location.description
        var settings = cm_sender_options()
        settings.width = Int32(clamping: width)
        settings.height = Int32(clamping: height)
        settings.frame_rate = frameRate.asC
        let chosen = options.bitRate ?? Self.bitRate(width, height, frameRate)
        settings.bit_rate = Int64(clamping: chosen)
        settings.device = target.isDevice
        settings.seconds = target.waitsForever ? 1e9 : options.seconds
        settings.cancelled = cancellation.flag
        var opened: OpaquePointer?
        try calling(name) { error in
            options.preset.withCString { preset in
                target.protocols.withCString { protocols in
                    target.settings.joined(separator: "\n").withCString { text in
                        settings.preset = preset
                        (settings.protocols, settings.settings) = (protocols, text)
                        return cm_sender_open(&opened, target.url, target.format, &settings, error)
                    }
                }
            }
        }
        guard let opened else {
            throw SwanError(.outOfMemory, "\(name): out of memory for a sender")
        }
        sender = opened
        encoder = String(cString: cm_sender_encoder(opened))
        self.name = name
        (self.width, self.height) = (width, height)
        self.cancellation = cancellation
    }

    deinit { cm_sender_free(sender) }

    /// An eighth of a bit per pixel and frame, at least half a megabit.
    static func bitRate(_ width: Int, _ height: Int, _ rate: Rational) -> Int {
        max(500_000, Int(Double(width * height) * min(rate.value, 120) / 8))
    }

    /// Sends a frame, which must have the writer's size, with its time in seconds.
    public func send(_ frame: VideoFrame, at seconds: Double) throws(SwanError) {
        guard frame.width == width, frame.height == height else {
            throw SwanError(
                .invalidArgument,
                "\(name): a frame of \(frame.width)x\(frame.height) does not fit a video of \(width)x\(height)"
            )
        }
        let time = Int64((seconds * 1e6).rounded())
        try lock.withLock { (_) throws(SwanError) in
            try frame.withUnsafeBytes { (bytes) throws(SwanError) in
                let pixels = bytes.assumingMemoryBound(to: UInt8.self)
                try calling(name) { cm_sender_send(sender, pixels.baseAddress, time, $0) }
            }
        }
    }

    /// Ends the stream, so that the receiver knows that it is complete.
    public func finish() throws(SwanError) {
        try lock.withLock { (_) throws(SwanError) -> Void in
            try calling(name) { cm_sender_finish(sender, $0) }
        }
    }
}

/// A receiver in FFmpeg's terms.
struct LiveTarget {
    let url: String
    let format: String
    var protocols = ""
    var settings: [String] = []
    var isDevice = false
    var waitsForever = false

    init(_ location: MediaLocation) throws(SwanError) {
        try Self.check(location)
        switch location {
        case .device(let device):
            do throws(SwanError) {
                try device.check(writing: true)
            } catch {
                let advice = "; v4l2loopback creates devices to write to"
                throw SwanError(.cannotWrite, error.message + advice, cause: error)
            }
            (url, format, isDevice) = (device.path, "v4l2", true)
        case .network(let address):
            (url, format) = (address.url, address.scheme.sentFormat ?? "")
            protocols = address.scheme.protocols
            settings = address.scheme.receiverSettings
            waitsForever = address.isListening
            if address.isListening, case .option(_, let option?) = address.scheme.listening {
                settings.append(option)
            }
        case .file, .screen:
            (url, format) = ("", "")
        }
    }

    /// Throws `invalidRequest` for a location that nothing can be sent to.
    static func check(_ location: MediaLocation) throws(SwanError) {
        let name = location.description
        switch location {
        case .device: return
        case .network(let address) where address.scheme.sentFormat != nil:
            guard address.isListening, case .option(_, nil) = address.scheme.listening else {
                return
            }
            throw SwanError(.invalidRequest, "\(name): Swan can send there, but not listen there")
        case .network:
            let names = NetworkScheme.all.filter { $0.sentFormat != nil }.map { $0.name + "://" }
            throw SwanError(
                .invalidRequest,
                "\(name): nothing can be sent there; send to \(names.joined(separator: ", "))"
            )
        case .file: throw SwanError(.invalidRequest, "\(name): is a file, not a live receiver")
        case .screen:
            throw SwanError(
                .invalidRequest,
                "\(name): nothing can be sent to a screen; --show opens a window"
            )
        }
    }
}

extension MediaLocation {
    /// Throws `invalidRequest` if it is live and nothing can be sent to it.
    public func checkAsOutput() throws(SwanError) {
        if isLive { try LiveTarget.check(self) }
    }
}
