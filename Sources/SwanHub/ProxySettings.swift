package import Foundation
package import SwanSystem

/// The proxies that the environment names: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`,
/// in capitals or not.
package struct ProxySettings: Equatable, Sendable {
    /// A proxy.
    package struct Proxy: Hashable, Sendable {
        package let isSOCKS: Bool
        package let host: String
        package let port: Int
        package let user: String?
        package let password: String?
    }

    private let https: Proxy?
    private let http: Proxy?
    /// Hosts that are reached directly; `*` is all of them.
    private let exceptions: [String]

    /// Reads the variables; throws for one that is not a proxy's address.
    package init(_ environment: [String: String]) throws(SwanError) {
        func read(_ names: [String]) throws(SwanError) -> Proxy? {
            for name in names {
                guard let text = environment[name], !text.isEmpty else { continue }
                return try Self.proxy(text, name)
            }
            return nil
        }
        https = try read(["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])
        // In a CGI program, HTTP_PROXY is a header of the request; this is none.
        http = try read(["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
        let direct = environment["no_proxy"] ?? environment["NO_PROXY"] ?? ""
        exceptions = direct.lowercased().split { ", ".contains($0) }.map(String.init)
    }

    /// The proxy for a URL; nil to connect directly.
    package func proxy(for url: URL) -> Proxy? {
        let host = (url.host ?? "").lowercased()
        guard !exceptions.contains(where: { Self.matches($0, host, url.port) }) else { return nil }
        return url.scheme?.lowercased() == "https" ? https : http
    }

    /// Whether an entry of `NO_PROXY` means a host: the host itself, a domain above it, or `*`.
    private static func matches(_ entry: String, _ host: String, _ port: Int?) -> Bool {
        var entry = entry[...]
        if let colon = entry.lastIndex(of: ":"), let number = Int(entry[colon...].dropFirst()),
            entry.firstIndex(of: ":") == colon
        {
            guard number == port else { return false }
            entry = entry[..<colon]
        }
        if entry == "*" { return true }
        if entry.hasPrefix("*") { entry = entry.dropFirst() }
        while entry.hasPrefix(".") { entry = entry.dropFirst() }
        return !entry.isEmpty && (host == entry || host.hasSuffix("." + entry))
    }

    private static func proxy(_ text: String, _ name: String) throws(SwanError) -> Proxy {
        let isComplete = text.contains("://")
        guard let url = URL(string: isComplete ? text : "http://" + text),
            let scheme = url.scheme?.lowercased(), let host = url.host, !host.isEmpty,
            ["http", "socks5", "socks5h"].contains(scheme)
        else {
            // The address may contain a password.
            throw SwanError(
                .invalidRequest,
                "\(name): is not the address of a proxy, such as http://proxy:3128 "
                    + "(or socks5://proxy:1080); a proxy that is itself reached by TLS (https://) "
                    + "is not supported"
            )
        }
        let isSOCKS = scheme != "http"
        return Proxy(
            isSOCKS: isSOCKS,
            host: host,
            port: url.port ?? (isSOCKS ? 1_080 : 80),
            user: url.user?.removingPercentEncoding,
            password: url.password?.removingPercentEncoding
        )
    }
}
