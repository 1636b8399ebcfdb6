extension String {
    /// The text in a form that is safe to print on a terminal: control characters are escaped, and text longer
    /// than `limit` characters is truncated with a note on how much is missing.
    ///
    /// Names in files are untrusted: unescaped, they could move the cursor, forge lines or fill the
    /// screen.
    ///
    /// - Parameter keepsLines: Whether to keep line breaks and tabs, for text with several lines.
    package func printable(limit: Int = 200, keepsLines: Bool = false) -> String {
        // Truncate bytes first: a single character can be megabytes long.
        let bytes = utf8.prefix(8 * limit)
        var text = ""
        var count = 0
        for scalar in String(decoding: bytes, as: UTF8.self).unicodeScalars {
            guard count < limit else { break }
            count += 1
            if keepsLines, scalar == "\n" || scalar == "\t" || !Self.isControl(scalar) {
                text.unicodeScalars.append(scalar)
            } else if Self.isControl(scalar) {
                text += "\\u{\(String(scalar.value, radix: 16))}"
            } else {
                text.unicodeScalars.append(scalar)
            }
        }
        guard count >= limit || bytes.count < utf8.count else { return text }
        let left = unicodeScalars.dropFirst(count).count
        return left > 0 ? text + "... (\(left) more characters)" : text
    }

    /// Whether a scalar can affect how others are displayed: control characters, and direction and line marks.
    private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .lineSeparator, .paragraphSeparator, .surrogate: true
        case .format: !["\u{200D}", "\u{200C}"].contains(scalar)
        default: false
        }
    }
}
