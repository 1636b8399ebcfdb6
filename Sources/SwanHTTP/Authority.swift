import NIOCore

/// A host and an optional port, as in the `Host` header: `localhost:7860`, `[::1]`, `swan.example`.
package struct Authority: Sendable, Hashable {
    /// The name in lower case without a final dot, or the address in its canonical form.
    package let host: String
    /// The port, if given.
    package let port: Int?

    /// Parses `host`, `host:port`, `[address]` or `[address]:port`; returns nil for anything else.
    package init?(_ text: some StringProtocol) {
        guard let (host, port) = Self.split(Substring(text)) else { return nil }
        self.host = host
        guard let port else {
            self.port = nil
            return
        }
        guard port.utf8.allSatisfy(\.isDigit), let number = UInt16(port) else { return nil }
        self.port = Int(number)
    }

    /// A host without a port; the brackets around an IPv6 address may be missing.
    package init?(host: String) {
        self.init(host.contains(":") && !host.hasPrefix("[") ? "[\(host)]" : host)
        guard port == nil else { return nil }
    }

    /// The host in canonical form, and the text of the port.
    private static func split(_ text: Substring) -> (host: String, port: Substring?)? {
        let host: String?
        let rest: Substring
        if text.first == "[" {
            guard let end = text.firstIndex(of: "]") else { return nil }
            host = canonical(text[..<end].dropFirst()).flatMap { $0.contains(":") ? $0 : nil }
            rest = text[end...].dropFirst()
        } else {
            let end = text.firstIndex(of: ":") ?? text.endIndex
            host = name(text[..<end])
            rest = text[end...]
        }
        guard let host else { return nil }
        if rest.isEmpty { return (host, nil) }
        return rest.first == ":" ? (host, rest.dropFirst()) : nil
    }

    private static func name(_ text: Substring) -> String? {
        let name = text.hasSuffix(".") ? text.dropLast() : text
        guard (1...253).contains(name.utf8.count), name.utf8.allSatisfy(\.isHostName) else {
            return nil
        }
        return canonical(name) ?? name.lowercased()
    }

    /// The canonical form of an IP address; nil if the text is not one.
    private static func canonical(_ text: some StringProtocol) -> String? {
        (try? SocketAddress(ipAddress: String(text), port: 0))?.ipAddress
    }

    /// Whether the host is an IP address and not a name.
    package var isAddress: Bool { Self.canonical(host) != nil }

    /// Whether only this machine can be meant: `localhost` or a loopback address.
    package var isLoopback: Bool {
        host == "localhost" || host.hasSuffix(".localhost") || host == "::1"
            || (host.hasPrefix("127.") && isAddress)
    }

    /// Whether the host stands for all addresses of this machine.
    package var isWildcard: Bool { host == "0.0.0.0" || host == "::" }

    /// The authority as it appears in a URL.
    package var text: String {
        let name = host.contains(":") ? "[\(host)]" : host
        return port.map { "\(name):\($0)" } ?? name
    }
}

extension UInt8 {
    fileprivate var isDigit: Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(self) }

    /// Whether the byte may be part of a name in the Domain Name System, or of a local name with an underscore.
    fileprivate var isHostName: Bool {
        let letters = UInt8(ascii: "a")...UInt8(ascii: "z")
        return letters.contains(self | 0x20) || isDigit || "-._".utf8.contains(self)
    }
}
