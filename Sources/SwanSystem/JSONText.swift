package import Foundation

/// Encodes values as JSON text.
package enum JSONText {
    /// The value as indented JSON with sorted keys and a final line break.
    ///
    /// Also escapes control characters beyond ASCII, which terminals interpret.
    package static func data(_ value: some Encodable) throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        let text = String(decoding: try encoder.encode(value), as: UTF8.self)
        let controls = "\u{7F}"..."\u{9F}" as ClosedRange<Unicode.Scalar>
        guard text.unicodeScalars.contains(where: controls.contains) else {
            return Data((text + "\n").utf8)
        }
        var escaped = ""
        for scalar in text.unicodeScalars {
            if controls.contains(scalar) {
                escaped += "\\u00" + String(scalar.value, radix: 16)
            } else {
                escaped.unicodeScalars.append(scalar)
            }
        }
        return Data((escaped + "\n").utf8)
    }
}
