import Foundation
import HTTPTypes
import NIOHTTP1

/// Checks the opening handshake of a WebSocket (RFC 6455, section 4.2.1).
enum UpgradeRules {
    /// Why a handshake is refused; nil if it is valid.
    ///
    /// - Parameter isFirst: Whether the handshake is the first request of its connection. Later ones cannot
    ///   be upgraded, because responses to earlier requests may still be under way.
    static func refusal(of head: HTTPRequestHead, isFirst: Bool) -> APIError? {
        guard head.method == .GET, head.version == .http1_1 else {
            return bad("A WebSocket handshake is a GET request of HTTP/1.1.")
        }
        guard
            head.headers[canonicalForm: "connection"].contains(where: {
                $0.lowercased() == "upgrade"
            })
        else {
            return bad(
                "A WebSocket handshake has the header \"Connection: Upgrade\".",
                "Connection"
            )
        }
        guard !head.hasBody else {
            return bad("A WebSocket handshake has no body.", "Content-Length")
        }
        guard head.headers["sec-websocket-version"] == ["13"] else {
            return .upgradeRequired("This server speaks version 13 of the WebSocket protocol.")
        }
        let keys = head.headers["sec-websocket-key"]
        guard keys.count == 1, Data(base64Encoded: keys[0])?.count == 16 else {
            return bad("Sec-WebSocket-Key must be 16 bytes in Base64.", "Sec-WebSocket-Key")
        }
        guard isFirst else {
            return .upgradeRequired("Open a new connection for each WebSocket.")
        }
        return nil
    }

    private static func bad(_ message: String, _ parameter: String? = nil) -> APIError {
        APIError(.badRequest, "invalid_handshake", message, parameter: parameter)
    }
}

extension APIError {
    /// A request that must be a WebSocket handshake of version 13 on a new connection.
    package static func upgradeRequired(_ message: String) -> APIError {
        APIError(
            .upgradeRequired,
            "upgrade_required",
            message,
            headers: [.upgrade: "websocket", .secWebSocketVersion: "13"]
        )
    }
}

extension HTTPRequestHead {
    /// Whether the request asks to become a WebSocket.
    var isWebSocketUpgrade: Bool {
        headers[canonicalForm: "upgrade"].contains { $0.lowercased() == "websocket" }
    }

    /// The WebSocket subprotocols that the client offers.
    var subprotocols: [Substring] { headers[canonicalForm: "sec-websocket-protocol"] }

    fileprivate var hasBody: Bool {
        headers.contains(name: "transfer-encoding")
            || headers["content-length"].contains { $0 != "0" }
    }
}
