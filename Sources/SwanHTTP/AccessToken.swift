package import SwanSystem

/// A secret that clients present with each request. Its description does not reveal it.
package struct AccessToken: Sendable, CustomStringConvertible {
    private let bytes: [UInt8]

    /// The prefix of the WebSocket subprotocol in which browsers, which cannot set headers, offer the token.
    package static let subprotocolPrefix = "swan.token."

    /// Creates a token of at least 16 characters that headers and subprotocols can carry.
    package init(_ text: String) throws(SwanError) {
        guard text.utf8.count >= 16, text.allSatisfy(\.isTokenCharacter) else {
            throw SwanError(
                .invalidRequest,
                "token: use at least 16 characters, only letters, digits, - . _ and ~"
            )
        }
        bytes = Array(text.utf8)
    }

    /// Creates a random token of 43 characters, and returns it with its text.
    package static func random() -> (token: AccessToken, text: String) {
        let alphabet = Array(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8
        )
        var generator = SystemRandomNumberGenerator()
        let bytes = (0..<43).map { _ in alphabet[Int.random(in: 0..<64, using: &generator)] }
        return (AccessToken(bytes: bytes), String(decoding: bytes, as: UTF8.self))
    }

    private init(bytes: [UInt8]) { self.bytes = bytes }

    /// Whether the text is the token.
    ///
    /// The time that this takes depends only on the length of the text, so that clients cannot guess
    /// the token character by character.
    package func matches(_ text: some StringProtocol) -> Bool {
        var difference: UInt8 = text.utf8.count == bytes.count ? 0 : 1
        for (index, byte) in text.utf8.enumerated() {
            difference |= byte ^ bytes[index % bytes.count]
        }
        return difference == 0
    }

    package var description: String { "(token)" }
}

extension Character {
    /// Characters that may be part of a header value, a subprotocol and a URL alike.
    fileprivate var isTokenCharacter: Bool {
        isASCII && (isLetter || isNumber || "-._~".contains(self))
    }
}
