/// The origin of a web page, as in the `Origin` header: a scheme, a host and a port.
package struct Origin: Sendable, Hashable {
    /// `http`, `https` or another scheme, in lower case.
    package let scheme: String
    /// The host.
    package let host: String
    /// The port, which is the scheme's default if the text has none.
    package let port: Int?

    /// Parses `https://example.com` or `http://localhost:5173`; returns nil for anything else, such as `null`.
    package init?(_ text: some StringProtocol) {
        guard let separator = text.firstRange(of: "://") else { return nil }
        let scheme = text[..<separator.lowerBound].lowercased()
        guard !scheme.isEmpty, let authority = Authority(text[separator.upperBound...]) else {
            return nil
        }
        self.scheme = scheme
        host = authority.host
        port = authority.port ?? Self.defaultPort(scheme)
    }

    /// Whether a page of this origin was loaded from the server that a request with this `Host` header reaches.
    ///
    /// The schemes may differ: behind a proxy that ends TLS, pages are `https` and requests `http`.
    package func isServed(by authority: Authority) -> Bool {
        host == authority.host && port == authority.port ?? Self.defaultPort(scheme)
    }

    private static func defaultPort(_ scheme: String) -> Int? {
        switch scheme {
        case "http": 80
        case "https": 443
        default: nil
        }
    }
}
