package import HTTPTypes

/// The answer to the opening handshake of a WebSocket.
package enum WebSocketDecision: Sendable {
    /// An HTTP response with an error.
    case refuse(APIError)
    /// An open connection with one of the subprotocols that the client offered, if any.
    ///
    /// The handler's task is cancelled when the connection is lost. When it returns, the connection is closed
    /// with code 1000, or 1001 if the server stops; when it throws, with 1011 or the `WebSocketClose` it throws.
    /// The handler does not run if the client leaves during the handshake. What is reserved for the session should
    /// therefore be released when the handler is deallocated.
    case accept(subprotocol: String?, handler: WebSocketSession)
}

/// Uses a WebSocket connection from its start to its end.
package typealias WebSocketSession = @Sendable (WebSocketConnection) async throws -> Void

/// Decides on a handshake, whose headers are valid and do not contain the access token.
package typealias WebSocketResolver = @Sendable (HTTPRequest) async -> WebSocketDecision

extension HTTPRequest {
    /// The WebSocket subprotocols that the client offers, in its order of preference.
    package var subprotocols: [String] {
        headerFields[values: .secWebSocketProtocol]
            .flatMap { $0.split(separator: ",") }
            .map { $0.filter { $0 != " " && $0 != "\t" } }
    }
}

/// A handshake that was accepted.
struct WebSocketAcceptance: Sendable {
    let subprotocol: String?
    let handler: WebSocketSession
}
