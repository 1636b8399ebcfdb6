import NIOCore
import NIOWebSocket

/// Checks the frames of a client and assembles messages from them (RFC 6455, sections 5 to 8).
///
/// Throws the `WebSocketClose` to fail the connection with. Memory is bounded by the limit for the kind of
/// message, however the client splits it.
struct MessageAssembler {
    /// What a frame means.
    enum Event: Equatable {
        /// A part of a message; more will follow.
        case fragment
        case message(WebSocketMessage)
        case ping(ByteBuffer)
        case pong
        /// The client closes the connection; the answer to send.
        case close(WebSocketClose)
    }

    private let limits: WebSocketLimits
    /// The kind of the message whose fragments are arriving.
    private var kind: WebSocketOpcode?
    private var payload = ByteBuffer()
    private var fragments = 0

    typealias WebSocketLimits = WebServerOptions.WebSocketLimits

    init(_ limits: WebSocketLimits) {
        self.limits = limits
    }

    /// The largest frame that can be part of a message.
    static func maximumFrame(_ limits: WebSocketLimits) -> Int {
        max(limits.textBytes, limits.binaryBytes)
    }

    /// Takes the next frame.
    mutating func receive(_ frame: WebSocketFrame) throws(WebSocketClose) -> Event {
        guard frame.maskKey != nil else {
            throw WebSocketClose(1002, "Frames of clients must be masked.")
        }
        guard frame.reservedBits.isEmpty else {
            throw WebSocketClose(1002, "Reserved bits are set, but no extension was negotiated.")
        }
        switch frame.opcode {
        case .text, .binary:
            guard kind == nil else {
                throw WebSocketClose(1002, "A message began before the previous one ended.")
            }
            kind = frame.opcode
            return try append(frame)
        case .continuation:
            guard kind != nil else {
                throw WebSocketClose(1002, "A continuation frame has no message to continue.")
            }
            return try append(frame)
        case .ping, .pong, .connectionClose:
            return try control(frame)
        default:
            throw WebSocketClose(1002, "The opcode is reserved.")
        }
    }

    private mutating func append(_ frame: WebSocketFrame) throws(WebSocketClose) -> Event {
        let limit = kind == .text ? limits.textBytes : limits.binaryBytes
        let size = payload.readableBytes + frame.data.readableBytes
        guard size <= limit else {
            throw WebSocketClose(1009, "Messages of this kind have at most \(limit) bytes.")
        }
        fragments += 1
        guard fragments <= limits.fragments else {
            throw WebSocketClose(1009, "Messages have at most \(limits.fragments) fragments.")
        }
        var data = frame.unmaskedData
        if fragments == 1, frame.fin {
            payload = data
        } else {
            payload.writeBuffer(&data)
        }
        guard frame.fin else { return .fragment }
        defer {
            kind = nil
            payload = ByteBuffer()
            fragments = 0
        }
        guard kind == .text else { return .message(.binary(payload)) }
        return .message(.text(try Self.text(payload)))
    }

    private func control(_ frame: WebSocketFrame) throws(WebSocketClose) -> Event {
        guard frame.fin, frame.data.readableBytes <= 125 else {
            throw WebSocketClose(
                1002,
                "Control frames have at most 125 bytes and are not fragmented."
            )
        }
        switch frame.opcode {
        case .ping: return .ping(frame.unmaskedData)
        case .pong: return .pong
        default: return .close(try Self.answer(to: frame.unmaskedData))
        }
    }

    /// The answer to a client's close frame: its own status code.
    private static func answer(to payload: ByteBuffer) throws(WebSocketClose) -> WebSocketClose {
        var payload = payload
        guard payload.readableBytes > 0 else { return .normal }
        guard let code = payload.readInteger(as: UInt16.self), mayBeSent(code) else {
            throw WebSocketClose(1002, "The close frame has no valid status code.")
        }
        _ = try text(payload)
        return WebSocketClose(code)
    }

    /// Whether a status code may be in a close frame: not those that only describe lost connections.
    private static func mayBeSent(_ code: UInt16) -> Bool {
        switch code {
        case 1000...1003, 1007...1014, 3000...4999: true
        default: false
        }
    }

    private static func text(_ payload: ByteBuffer) throws(WebSocketClose) -> String {
        guard let text = String(validating: payload.readableBytesView, as: UTF8.self) else {
            throw WebSocketClose(1007, "Text must be valid UTF-8.")
        }
        return text
    }
}
