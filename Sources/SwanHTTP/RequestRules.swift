import HTTPTypes
import NIOHTTP1

/// Refuses requests that are malformed in ways that the HTTP parser accepts.
enum RequestRules {
    /// Why a request is refused; nil if it is well formed.
    static func refusal(of head: HTTPRequestHead) -> APIError? {
        guard head.headers["host"].count == 1 else {
            return bad("invalid_host", "A request has exactly one Host header.", "Host")
        }
        guard head.headers["content-length"].isEmpty || head.headers["transfer-encoding"].isEmpty
        else {
            return bad(
                "invalid_length",
                "A request has Content-Length or Transfer-Encoding, not both.",
                "Content-Length"
            )
        }
        guard isValid(target: head.uri) else {
            return bad(
                "invalid_path",
                "The path must start with / and must not contain .., backslashes or control characters."
            )
        }
        return nil
    }

    /// Whether a request target is a path that means the same to all who read it.
    static func isValid(target: String) -> Bool {
        guard target.utf8.first == UInt8(ascii: "/") else { return false }
        let path = target.prefix { $0 != "?" && $0 != "#" }
        guard let decoded = percentDecoded(path.utf8) else { return false }
        let isPlain = decoded.allSatisfy { $0 >= 0x20 && $0 != 0x7F && $0 != UInt8(ascii: "\\") }
        let segments = decoded.split(separator: UInt8(ascii: "/"))
        return isPlain
            && !segments.contains { $0.elementsEqual(".".utf8) || $0.elementsEqual("..".utf8) }
    }

    /// The bytes of a path; nil if a percent sign is not followed by two hexadecimal digits.
    private static func percentDecoded(_ text: Substring.UTF8View) -> [UInt8]? {
        var bytes: [UInt8] = []
        var rest = text[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            let digits = rest.prefix(2)
            guard digits.count == 2, digits.allSatisfy(isHexDigit),
                let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 16)
            else { return nil }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return bytes
    }

    private static func isHexDigit(_ byte: UInt8) -> Bool {
        Character(Unicode.Scalar(byte)).isHexDigit
    }

    private static func bad(_ code: String, _ message: String, _ parameter: String? = nil)
        -> APIError
    {
        APIError(.badRequest, code, message, parameter: parameter)
    }
}

extension HTTPRequestHead {
    /// The path without the query, which may contain secrets.
    var path: String { String(uri.prefix { $0 != "?" && $0 != "#" }) }

    /// Whether the method may change state.
    var isUnsafe: Bool { ![.GET, .HEAD, .OPTIONS].contains(method) }
}
