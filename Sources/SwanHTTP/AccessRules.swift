import Foundation
import HTTPTypes
import NIOHTTP1

/// Decides which requests are answered, from their headers alone.
///
/// Browsers send requests to this server on behalf of any page that their user visits. The rules keep
/// such pages out: the `Host` rule those that point their own name at this machine (DNS rebinding), the
/// `Origin` rules those that know its address.
struct AccessRules: Sendable {
    private let token: AccessToken?
    private let openPaths: Set<String>
    private let acceptsPassword: @Sendable (String) -> Bool
    private let hosts: Set<String>
    private let allowsAllAddresses: Bool
    private let origins: Set<Origin>
    private let limits: WebServerOptions.Limits

    init(_ options: WebServerOptions) {
        token = options.token
        openPaths = options.openPaths
        acceptsPassword = options.acceptsPassword
        let bound = Authority(host: options.host)
        // A page that may use this server may also come from it: under its name behind a proxy or in a network.
        hosts = Set(
            options.allowedHosts.map(\.host) + options.allowedOrigins.map(\.host)
                + [bound].compactMap { $0?.host }
        )
        // A page can point a name at this machine, but it cannot change what an address means.
        allowsAllAddresses = bound?.isWildcard ?? false
        origins = Set(options.allowedOrigins)
        limits = options.limits
    }

    /// Why a request is refused; nil if it is answered.
    func refusal(of head: HTTPRequestHead) -> APIError? {
        if let error = RequestRules.refusal(of: head) { return error }
        guard let host = head.headers.first(name: "host").flatMap({ Authority($0) }), allows(host)
        else { return .wrongHost }
        if let length = head.headers.first(name: "content-length").flatMap({ Int($0) }),
            length > limits.bodyBytes(of: head)
        {
            return .bodyTooLarge(limit: limits.bodyBytes(of: head))
        }
        if head.isUnsafe || head.isWebSocketUpgrade, !allowsOrigin(of: head, host: host) {
            return .wrongOrigin
        }
        if head.isUnsafe, isForm(head) { return .form }
        return isAuthorized(head) ? nil : .unauthorized(accepting: challenge(for: head))
    }

    private func allows(_ host: Authority) -> Bool {
        host.isLoopback || hosts.contains(host.host) || (allowsAllAddresses && host.isAddress)
    }

    /// Whether the request comes from a page of this server, an allowed page, or no page at all.
    ///
    /// Browsers add `Origin` to all WebSocket handshakes and to all requests that change state, and pages
    /// cannot remove it.
    private func allowsOrigin(of head: HTTPRequestHead, host: Authority) -> Bool {
        let values = head.headers["origin"]
        if let value = values.first {
            guard values.count == 1, let origin = Origin(value) else { return false }
            if origins.contains(origin) { return true }
            guard origin.isServed(by: host) else { return false }
        }
        guard let site = head.headers.first(name: "sec-fetch-site") else { return true }
        return site == "same-origin" || site == "none"
    }

    /// Whether the body has a type that pages of any origin can send without asking first.
    private func isForm(_ head: HTTPRequestHead) -> Bool {
        guard let type = head.headers.first(name: "content-type") else { return false }
        let name = type.prefix { $0 != ";" }.lowercased().filter { $0 != " " }
        return name == "application/x-www-form-urlencoded" || name == "text/plain"
    }

    private func isAuthorized(_ head: HTTPRequestHead) -> Bool {
        guard let token, !openPaths.contains(head.path) else { return true }
        let values = head.headers["authorization"]
        if let value = values.first {
            let parts = value.split(separator: " ", maxSplits: 1)
            guard values.count == 1, parts.count == 2 else { return false }
            switch parts[0].lowercased() {
            case "bearer": return token.matches(parts[1])
            case "basic" where acceptsPassword(head.path):
                return Self.password(in: parts[1]).map { token.matches($0) } ?? false
            default: return false
            }
        }
        let prefix = AccessToken.subprotocolPrefix
        return head.isWebSocketUpgrade
            && head.subprotocols.contains {
                $0.hasPrefix(prefix) && token.matches($0.dropFirst(prefix.count))
            }
    }
}

extension AccessRules {
    private func challenge(for head: HTTPRequestHead) -> String {
        acceptsPassword(head.path) ? "Basic realm=\"Swan: the token is the password\"" : "Bearer"
    }

    /// The password in the credentials of HTTP's Basic scheme (RFC 7617).
    private static func password(in credentials: some StringProtocol) -> Substring? {
        guard let data = Data(base64Encoded: String(credentials)) else { return nil }
        let text = String(decoding: data, as: UTF8.self)
        return text.firstIndex(of: ":").map { text[text.index(after: $0)...] }
    }
}

extension WebServerOptions.Limits {
    /// The maximum size of the body of a request, in bytes.
    func bodyBytes(of head: HTTPRequestHead) -> Int {
        head.method == .POST ? uploads[head.path] ?? bodyBytes : bodyBytes
    }

    /// Whether a request may take longer than `bodyTimeout` to arrive.
    func isUpload(_ head: HTTPRequestHead) -> Bool {
        head.method == .POST && uploads[head.path] != nil
    }
}

extension APIError {
    fileprivate static let wrongHost = APIError(
        .misdirectedRequest,
        "host_not_allowed",
        "This server does not answer under the name in the Host header. Use localhost, the address it listens on, or the name of an origin that it was configured to allow (--allow-origin).",
        parameter: "Host"
    )

    fileprivate static let wrongOrigin = APIError(
        .forbidden,
        "origin_not_allowed",
        "Pages of this origin may not use this server.",
        parameter: "Origin"
    )

    fileprivate static let form = APIError(
        .unsupportedMediaType,
        "unsupported_content_type",
        "Send the body as application/json.",
        parameter: "Content-Type"
    )

    fileprivate static func unauthorized(accepting challenge: String) -> APIError {
        APIError(
            .unauthorized,
            "invalid_token",
            "Send the server's token as \"Authorization: Bearer TOKEN\", or as the WebSocket subprotocol \"\(AccessToken.subprotocolPrefix)TOKEN\".",
            parameter: "Authorization",
            headers: [.wwwAuthenticate: challenge]
        )
    }
}
