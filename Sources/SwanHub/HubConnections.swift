import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import SwanSystem
import Synchronization

/// The answer to a request, whose content has not been read yet.
struct HubReply: Sendable {
    let status: Int
    let headers: HTTPHeaders
    /// The headers of the first answer, which for a redirected file are the hub's own.
    let firstHeaders: HTTPHeaders
    let body: HTTPClientResponse.Body
    /// The address after redirects.
    let url: URL

    /// The first value of a header.
    func header(_ name: String) -> String? { headers.first(name: name) }
}

/// Makes requests: through the proxy that the environment names, with the token where it belongs.
final class HubConnections: Sendable {
    /// The number of redirects to follow.
    private static let redirectLimit = 10

    let environment: HubEnvironment
    private let userAgent: String
    private let clients = Mutex<[ProxySettings.Proxy?: HTTPClient]>([:])

    init(_ environment: HubEnvironment, userAgent: String) {
        self.environment = environment
        self.userAgent = userAgent
    }

    /// Closes all connections. Has to be called before the last reference is released.
    func close() async {
        let open = clients.withLock { clients in
            defer { clients = [:] }
            return Array(clients.values)
        }
        for client in open {
            do {
                try await client.shutdown()
            } catch {
                // Connections that do not close properly end with the process.
                continue
            }
        }
    }

    /// Requests an address and follows redirects. The token is sent to the hub's own host only.
    ///
    /// Throws `HubFailure` for what may pass, `SwanError` for what will not.
    func get(_ start: URL, headers: [(String, String)] = []) async throws -> HubReply {
        var url = start
        var firstHeaders: HTTPHeaders?
        for _ in 0...Self.redirectLimit {
            var request = HTTPClientRequest(url: url.absoluteString)
            request.headers.add(name: "User-Agent", value: userAgent)
            request.headers.add(name: "Accept-Encoding", value: "identity")
            request.headers.add(contentsOf: headers)
            if let token = environment.token, environment.isEndpoint(url) {
                request.headers.add(name: "Authorization", value: "Bearer " + token)
            }
            let response = try await execute(request, url)
            let status = Int(response.status.code)
            guard [301, 302, 303, 307, 308].contains(status),
                let location = response.headers.first(name: "Location")
            else {
                return HubReply(
                    status: status,
                    headers: response.headers,
                    firstHeaders: firstHeaders ?? response.headers,
                    body: response.body,
                    url: url
                )
            }
            firstHeaders = firstHeaders ?? response.headers
            url = try Self.target(of: location, from: url)
        }
        throw SwanError(.io, "\(Self.shown(start)): is redirected without end")
    }

    private static func target(of location: String, from url: URL) throws(SwanError) -> URL {
        guard let next = URL(string: location, relativeTo: url)?.absoluteURL,
            let scheme = next.scheme?.lowercased(), ["http", "https"].contains(scheme),
            next.host?.isEmpty == false
        else {
            throw SwanError(
                .io,
                "\(shown(url)): is redirected to '\(location.printable())', which is no address"
            )
        }
        guard scheme == "https" || url.scheme?.lowercased() == "http" else {
            throw SwanError(
                .io,
                "\(shown(url)): is redirected to an unencrypted address (\(shown(next))), which is "
                    + "refused"
            )
        }
        return next
    }

    /// An address without its query, which may be a signature, and without a password.
    static func shown(_ url: URL) -> String {
        var parts = URLComponents(url: url, resolvingAgainstBaseURL: true)
        parts?.query = nil
        parts?.fragment = nil
        parts?.user = nil
        parts?.password = nil
        return (parts?.string ?? url.host ?? "the server").printable(limit: 1_000)
    }

    private func execute(
        _ request: HTTPClientRequest,
        _ url: URL
    ) async throws -> HTTPClientResponse {
        let client = try client(for: environment.proxies.proxy(for: url))
        do {
            return try await client.execute(request, deadline: .distantFuture)
        } catch {
            throw HubFailure.describing(error, at: url)
        }
    }

    private func client(for proxy: ProxySettings.Proxy?) throws(SwanError) -> HTTPClient {
        if let client = clients.withLock({ $0[proxy] }) { return client }
        let settings = try configuration(proxy)
        return clients.withLock { clients in
            if let client = clients[proxy] { return client }
            let client = HTTPClient(
                eventLoopGroup: MultiThreadedEventLoopGroup.singleton,
                configuration: settings
            )
            clients[proxy] = client
            return client
        }
    }

    private func configuration(
        _ proxy: ProxySettings.Proxy?
    ) throws(SwanError) -> HTTPClient.Configuration {
        var settings = HTTPClient.Configuration()
        settings.redirectConfiguration = .disallow
        settings.httpVersion = .http1Only
        settings.decompression = .disabled
        settings.timeout = .init(
            connect: .init(environment.timing.connecting),
            read: .init(environment.timing.silence)
        )
        settings.connectionPool.retryConnectionEstablishment = false
        settings.proxy = proxy.map { proxy in
            if proxy.isSOCKS { return .socksServer(host: proxy.host, port: proxy.port) }
            let login = proxy.user.map { user in
                HTTPClient.Authorization.basic(username: user, password: proxy.password ?? "")
            }
            return .server(host: proxy.host, port: proxy.port, authorization: login)
        }
        if let certificates = environment.certificates {
            // Without this check, a wrong path would fail with each connection.
            _ = try RegularFile(certificates)
            var tls = TLSConfiguration.makeClientConfiguration()
            tls.trustRoots = .file(certificates)
            settings.tlsConfiguration = tls
        }
        return settings
    }
}
