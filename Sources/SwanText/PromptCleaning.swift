/// Cleans a prompt as the reference does before tokenization: repairs text (wrong encodings, curly
/// quotes, widths, control characters, NFC), unescapes HTML entities twice, and collapses and trims
/// whitespace. The result may be empty.
public func cleanPrompt(_ text: String) -> String {
    let repaired = TextRepair.repaired(Array(text.unicodeScalars))
    let unescaped = HTMLEntities.unescaping(HTMLEntities.unescaping(repaired))
    return String(collapsingWhitespace(unescaped))
}

/// Cleans a UTF-8 prompt, in which invalid bytes are replaced by U+FFFD first.
public func cleanPrompt(bytes: some Collection<UInt8>) -> String {
    cleanPrompt(String(decoding: bytes, as: UTF8.self))
}

/// Equivalent to Python's `strip`, `re.sub(r'\s+', ' ', text)` and `strip`, in the reference's
/// order.
private func collapsingWhitespace(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
    var result: [Unicode.Scalar] = []
    result.reserveCapacity(text.count)
    for scalar in trimming(text) {
        if !scalar.properties.isWhitespace {
            result.append(scalar)
        } else if result.last != " " {
            result.append(" ")
        }
    }
    return trimming(result[...])
}

private func trimming(_ text: some BidirectionalCollection<Unicode.Scalar>) -> [Unicode.Scalar] {
    guard let first = text.firstIndex(where: { !$0.isPythonSpace }),
        let last = text.lastIndex(where: { !$0.isPythonSpace })
    else { return [] }
    return Array(text[first...last])
}
