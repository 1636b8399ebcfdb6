import Foundation
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import ServiceLifecycle
import SwanHTTP
import SwanSystem
import UnixSignals

/// A server with a few routes, for the clients in `Tests/serve`. Its options are arguments: `port=0 token=...`.
@main struct Probe: Service {
    let options: WebServerOptions
    let log: Logger

    static func main() async {
        var log = Logger(label: "probe") { StreamLogHandler.standardError(label: $0) }
        log.logLevel = .debug
        do {
            let probe = Probe(options: try options(CommandLine.arguments.dropFirst()), log: log)
            let group = ServiceGroup(
                configuration: .init(
                    services: [probe],
                    gracefulShutdownSignals: [.sigterm],
                    cancellationSignals: [.sigint],
                    logger: log
                )
            )
            try await group.run()
        } catch {
            say("error: \(error)")
            exit(1)
        }
    }

    func run() async throws {
        let server = WebServer(options: options, log: log, routes: addRoutes, webSockets: decide)
        try await server.run { url in say("ready \(url)") }
    }

    // MARK: - Options

    private static func options(_ arguments: some Sequence<String>) throws -> WebServerOptions {
        var options = WebServerOptions(port: 0)
        options.gracePeriod = .seconds(2)
        options.limits.headerTimeout = .seconds(1)
        options.limits.bodyTimeout = .seconds(1)
        options.limits.idleTimeout = .seconds(2)
        options.limits.stallTimeout = .seconds(1)
        options.limits.bodyBytes = 100_000
        for argument in arguments {
            let parts = argument.split(separator: "=", maxSplits: 1).map(String.init)
            try set(parts[0], parts.count > 1 ? parts[1] : "", in: &options)
        }
        return options
    }

    private static func set(
        _ name: String,
        _ value: String,
        in options: inout WebServerOptions
    ) throws {
        switch name {
        case "host": options.host = value
        case "port": options.port = Int(value) ?? 0
        case "token": options.token = try AccessToken(value)
        case "allow-host": options.allowedHosts = [value].compactMap { Authority(host: $0) }
        case "allow-origin": options.allowedOrigins = [value].compactMap { Origin($0) }
        case "connections": options.limits.connections = Int(value) ?? 0
        case "certificate":
            options.identity = .files(certificate: value, privateKey: value + ".key")
        case "self-signed":
            let certificate = try SelfSignedCertificate()
            say("fingerprint \(certificate.fingerprint)")
            options.identity = .selfSigned(certificate)
        case "ping":
            options.limits.webSocket.pingInterval = .milliseconds(Int(value) ?? 0)
            options.limits.webSocket.silenceTimeout = .milliseconds(3 * (Int(value) ?? 0))
        default: throw SwanError(.invalidRequest, "\(name): unknown option")
        }
    }

    // MARK: - Routes

    private func addRoutes(_ router: Router<BasicRequestContext>) {
        router.get("/healthz") { _, _ in "ok" }
        router.post("/echo") { request, _ in
            Response(
                status: .ok,
                body: .init(byteBuffer: try await request.body.collect(upTo: 1 << 20))
            )
        }
        router.get("/fail") { _, _ -> Response in
            throw SwanError(.io, "/home/someone/secret.txt: cannot be read")
        }
        router.get("/busy") { _, _ -> Response in
            throw APIError(.tooManyRequests, "busy", "Try again.", headers: [.retryAfter: "1"])
        }
        router.get("/slow") { _, _ in
            try await Task.sleep(for: .milliseconds(500))
            return "slow"
        }
        router.get("/large") { _, _ in ByteBuffer(repeating: 7, count: 16 << 20) }
        router.get("/item/:name") { _, context in try context.parameters.require("name") }
        let page = Data("<!doctype html><title>probe</title>".utf8)
        StaticFiles(["/": .init(page, type: "text/html; charset=utf-8")]).addRoutes(to: router)
    }

    // MARK: - WebSockets

    private func decide(_ request: HTTPRequest) async -> WebSocketDecision {
        let subprotocol = request.subprotocols.first { $0 == "swan.v1" }
        switch request.path?.prefix(while: { $0 != "?" }) {
        case "/echo": return .accept(subprotocol: subprotocol, handler: Self.echo)
        case "/flood": return .accept(subprotocol: subprotocol, handler: Self.flood)
        case "/farewell": return .accept(subprotocol: subprotocol, handler: Self.farewell)
        case "/reject":
            return .accept(subprotocol: subprotocol) { _ in
                throw WebSocketClose(4404, "No such session.")
            }
        case "/crash":
            return .accept(subprotocol: subprotocol) { _ in throw SwanError(.io, "/home/secret") }
        case "/full":
            return .refuse(
                APIError(
                    .serviceUnavailable,
                    "full",
                    "All places are taken.",
                    headers: [.retryAfter: "2"]
                )
            )
        default:
            return .refuse(.notFound)
        }
    }

    @Sendable private static func echo(_ connection: WebSocketConnection) async throws {
        for await message in connection.messages {
            switch message {
            case .text(let text): try await connection.send(text)
            case .binary(let bytes): try await connection.send(bytes)
            }
        }
    }

    /// Sends without end, and gives up when a message does not leave within a second.
    @Sendable private static func flood(_ connection: WebSocketConnection) async throws {
        let message = ByteBuffer(repeating: 7, count: 1 << 20)
        while true {
            let watchdog = Task {
                try await Task.sleep(for: .seconds(1))
                say("stalled \(connection.bufferedAmount)")
                connection.close(WebSocketClose(1008, "The client does not read."))
            }
            defer { watchdog.cancel() }
            try await connection.send(message)
        }
    }

    @Sendable private static func farewell(_ connection: WebSocketConnection) async throws {
        for await _ in connection.messages {}
        try await connection.send("farewell")
    }
}

/// Prints a line at once, though standard output is a pipe.
private func say(_ line: String) {
    print(line)
    fflush(nil)
}
