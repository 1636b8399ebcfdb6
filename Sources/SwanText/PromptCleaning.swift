/// A prompt as the reference hands it to its tokenizer: text repaired (mistaken encodings, curly
/// quotes, widths, control characters, NFC), HTML entities read twice, runs of whitespace made one
/// space, none at the ends. The result may be empty.
public func cleanPrompt(_ text: String) -> String {
    let repaired = TextRepair.repaired(Array(text.unicodeScalars))
    let unescaped = HTMLEntities.unescaping(HTMLEntities.unescaping(repaired))
    return String(collapsingWhitespace(unescaped))
}

/// A prompt from bytes that should be UTF-8, cleaned; what is not UTF-8 becomes U+FFFD first.
public func cleanPrompt(bytes: some Collection<UInt8>) -> String {
    cleanPrompt(String(decoding: bytes, as: UTF8.self))
}

/// What Python's `strip`, `re.sub(r'\s+', ' ', text)` and `strip` give, in the reference's order.
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
