package import NIOCore

/// A message from a WebSocket client.
package enum WebSocketMessage: Sendable, Equatable {
    case text(String)
    case binary(ByteBuffer)
}

/// Why a WebSocket connection is closed, and the text that goes with it.
package struct WebSocketClose: Error, Sendable, Equatable {
    /// The status code (RFC 6455, section 7.4).
    package let code: UInt16
    /// The reason, at most 123 bytes of UTF-8.
    package let reason: String

    package init(_ code: UInt16, _ reason: String = "") {
        self.code = code
        self.reason = reason
    }

    /// The end of a conversation.
    static let normal = WebSocketClose(1000)
    /// A server that stops.
    static let goingAway = WebSocketClose(1001, "The server is stopping.")
    /// A failure of the server.
    static let internalError = WebSocketClose(1011, "The server failed.")

    /// The payload of a close frame.
    var payload: ByteBuffer {
        var buffer = ByteBuffer(integer: code)
        var reason = reason
        while reason.utf8.count > 123 { reason.removeLast() }
        buffer.writeString(reason)
        return buffer
    }
}
