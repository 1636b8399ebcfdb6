package import SwanSystem

/// Where a web server listens, whom it answers, and how much of its memory and time a client may use.
package struct WebServerOptions: Sendable {
    /// The address or host name to listen on.
    package var host: String
    /// The port to listen on; 0 lets the system choose one.
    package var port: Int
    /// The certificate for HTTPS; nil serves plain HTTP.
    package var identity: TLSIdentity?
    /// The token that clients must present on all paths except `openPaths`; nil admits everyone.
    package var token: AccessToken?
    /// The paths that need no token.
    package var openPaths: Set<String> = ["/healthz"]
    /// Whether programs that can send nothing but a name and a password, as video players, may send the
    /// token as the password on a path.
    package var acceptsPassword: @Sendable (_ path: String) -> Bool = { _ in false }
    /// Names under which clients may reach the server, besides `localhost`, loopback addresses and `host`.
    package var allowedHosts: [Authority] = []
    /// Web pages of other origins that may open WebSockets and change state.
    package var allowedOrigins: [Origin] = []
    /// The limits for each client.
    package var limits = Limits()
    /// The time that connections have to end after the server was asked to stop.
    package var gracePeriod: Duration = .seconds(5)
    /// Called for each answered request, on the connection's thread; must not block.
    package var observer: (@Sendable (RequestReport) -> Void)?

    /// Creates options for plain HTTP without a token.
    package init(host: String = "127.0.0.1", port: Int = 7860) {
        self.host = host
        self.port = port
    }

    /// The memory and time that a client may use.
    package struct Limits: Sendable {
        /// The maximum size of all headers of a request, in bytes.
        package var headerBytes = 32 << 10
        /// The maximum number of headers of a request.
        package var headerCount = 100
        /// The maximum size of the body of a request, in bytes.
        package var bodyBytes = 2 << 20
        /// The maximum size of the body of a `POST` to these paths, instead of `bodyBytes`.
        package var uploads: [String: Int] = [:]
        /// The average rate at which an upload must arrive after `bodyTimeout`, in bytes per second.
        package var uploadRate = 64 << 10
        /// The maximum number of connections.
        package var connections = 512
        /// The time from the start of a connection until the headers of the first request.
        package var headerTimeout: Duration = .seconds(5)
        /// The time from the headers of a request until the end of its body.
        package var bodyTimeout: Duration = .seconds(60)
        /// The time that a connection may stay open between requests.
        package var idleTimeout: Duration = .seconds(60)
        /// The time after which a client that does not read its response is disconnected.
        package var stallTimeout: Duration = .seconds(30)
        /// The limits of WebSocket connections.
        package var webSocket = WebSocketLimits()

        package init() {}
    }

    /// The memory and time that a WebSocket connection may use.
    package struct WebSocketLimits: Sendable {
        /// The maximum size of a text message, in bytes.
        package var textBytes = 128 << 10
        /// The maximum size of a binary message, in bytes.
        package var binaryBytes = 4 << 20
        /// The maximum number of frames that a message may be split into.
        package var fragments = 1024
        /// The time between pings.
        package var pingInterval: Duration = .seconds(15)
        /// The time after which a client that sends nothing, not even a pong, is disconnected.
        package var silenceTimeout: Duration = .seconds(30)
        /// The time that a client has to answer a close frame.
        package var closeTimeout: Duration = .seconds(2)

        package init() {}
    }

    /// Throws if an option is out of range.
    package func validate() throws(SwanError) {
        guard (0...65535).contains(port) else {
            throw SwanError(.invalidRequest, "port \(port): use 1 to 65535, or 0 for any free port")
        }
    }
}
