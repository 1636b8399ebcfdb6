package import Hummingbird
import HummingbirdCore
package import Logging
import NIOCore
import ServiceLifecycle

/// A server for HTTP/1.1 and WebSockets that faces untrusted clients.
package struct WebServer: Sendable {
    private let options: WebServerOptions
    private let content: ServerContent
    private let log: Logger

    /// Creates a server.
    ///
    /// - Parameters:
    ///   - routes: Adds the routes. Their handlers throw `APIError`.
    ///   - webSockets: Decides on each WebSocket handshake that the options permit.
    package init(
        options: WebServerOptions,
        log: Logger,
        routes: (Router<BasicRequestContext>) -> Void,
        webSockets: @escaping WebSocketResolver
    ) {
        let content = ServerContent(options, routes: routes, webSockets: webSockets)
        self.init(options: options, content: content, log: log)
    }

    /// Creates a server whose content may change while it runs.
    package init(options: WebServerOptions, content: ServerContent, log: Logger) {
        self.options = options
        self.content = content
        self.log = log
    }

    /// Serves until the task is cancelled or its `ServiceGroup` shuts down gracefully: tells clients that it
    /// stops, and gives them the grace period to leave.
    ///
    /// - Parameter onReady: Called with the server's URL once it accepts connections.
    package func run(onReady: @escaping @Sendable (String) async -> Void) async throws {
        try options.validate()
        let quiet = Logger(label: log.label) { _ in LibraryLog(log) }
        let application = Application(
            responder: ContentResponder(content: content),
            server: try server(),
            configuration: ApplicationConfiguration(
                address: .hostname(options.host, port: options.port)
            ),
            onServerRunning: { [options] channel in
                await onReady(options.url(port: channel.localAddress?.port))
            },
            logger: quiet
        )
        do {
            try await Self.runToGracefulEnd(application, log: quiet)
        } catch {
            let (host, port) = (options.host, options.port)
            throw await ListenFailure.explained(error, host: host, port: port) ?? error
        }
    }

    /// Runs a service. Cancelling the task does not cut its connections off, but ends it gracefully.
    private static func runToGracefulEnd(_ service: any Service, log: Logger) async throws {
        let group = ServiceGroup(configuration: .init(services: [service], logger: log))
        // A task of its own is not cancelled with this one.
        let running = Task { try await group.run() }
        try await withTaskCancellationHandler {
            try await running.value
        } onCancel: {
            Task { await group.triggerGracefulShutdown() }
        }
    }

    private func server() throws -> HTTPServerBuilder {
        let rules = AccessRules(options)
        let connections = ConnectionCounter(limit: options.limits.connections)
        let certificate = try options.identity?.source()
        return HTTPServerBuilder { [options, content] respond in
            let plain = ConnectionSetup(
                responder: respond,
                options: options,
                rules: rules,
                resolve: { await content.webSockets($0) },
                connections: connections
            )
            guard let certificate else { return plain }
            return SecureConnectionSetup(plain: plain, context: certificate)
        }
    }
}

extension WebServerOptions {
    /// The URL of the server for a browser on this machine.
    fileprivate func url(port: Int?) -> String {
        let scheme = identity == nil ? "http" : "https"
        let authority =
            Authority(host: host).flatMap { $0.isWildcard ? nil : $0.text } ?? "localhost"
        return "\(scheme)://\(authority):\(port ?? self.port)"
    }
}
