/// Whether an address is one that a pattern of OSC 1.0 stands for: `?`, `*`, `[a-z]`, `[!a-z]` and `{this,that}`, none
/// of which crosses a `/`.
enum OSCPattern {
    /// The longest pattern that is compared. The time grows with its square and the number of its stars.
    private static let maxBytes = 256

    /// Whether `address` matches `pattern`.
    static func matches(_ pattern: String, _ address: String) -> Bool {
        let parts = (pattern.utf8.split(separator: 0x2F), address.utf8.split(separator: 0x2F))
        guard pattern.utf8.count <= maxBytes, parts.0.count == parts.1.count else { return false }
        return zip(parts.0, parts.1).allSatisfy { matches(Array($0)[...], Array($1)[...]) }
    }

    private static func matches(_ pattern: ArraySlice<UInt8>, _ text: ArraySlice<UInt8>) -> Bool {
        guard let first = pattern.first else { return text.isEmpty }
        let rest = pattern.dropFirst()
        switch Character(Unicode.Scalar(first)) {
        case "*":
            // Stars that follow one another are one.
            if rest.first == first { return matches(rest, text) }
            return (text.startIndex...text.endIndex).contains { matches(rest, text[$0...]) }
        case "?": return !text.isEmpty && matches(rest, text.dropFirst())
        case "[":
            guard let end = rest.firstIndex(of: UInt8(ascii: "]")), let byte = text.first else {
                return false
            }
            return contains(rest[..<end], byte)
                && matches(rest[end...].dropFirst(), text.dropFirst())
        case "{":
            guard let end = rest.firstIndex(of: UInt8(ascii: "}")) else { return false }
            return rest[..<end].split(
                separator: UInt8(ascii: ","),
                omittingEmptySubsequences: false
            )
            .contains {
                text.starts(with: $0)
                    && matches(rest[end...].dropFirst(), text.dropFirst($0.count))
            }
        default: return text.first == first && matches(rest, text.dropFirst())
        }
    }

    /// Whether a set such as `a-z` or `!0-9` contains a character.
    private static func contains(_ set: ArraySlice<UInt8>, _ byte: UInt8) -> Bool {
        let isNegated = set.first == UInt8(ascii: "!")
        var rest = isNegated ? set.dropFirst() : set
        var isFound = false
        while let low = rest.popFirst() {
            var high = low
            if rest.first == UInt8(ascii: "-"), rest.count > 1 {
                rest = rest.dropFirst()
                high = rest.popFirst() ?? low
            }
            isFound = isFound || (low <= byte && byte <= high)
        }
        return isFound != isNegated
    }
}
