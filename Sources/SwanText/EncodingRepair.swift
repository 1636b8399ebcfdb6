/// Repairs mojibake: UTF-8 that was decoded with a single-byte code page. Attempts are made in the
/// order of ftfy 6.3.
enum EncodingRepair {
    /// Repairs `text` until nothing changes, because several layers of mojibake are common.
    static func repaired(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        var current = text
        while true {
            let next = withOneLayerRemoved(current)
            if next == current { return next }
            current = next
        }
    }

    /// Replaces Latin-1 control characters, which are never intended, by Windows-1252 characters.
    static func replacingC1(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        text.map { scalar in
            (0x80...0x9F).contains(scalar.value)
                ? CodePage.windows1252.scalars[Int(scalar.value)] : scalar
        }
    }

    /// The code pages to try, the likeliest first.
    private static let suspects: [CodePage] = [
        .latin1, .windows1252, .windows1251, .windows1250, .windows1253, .windows1254,
        .windows1257, .iso8859Part2, .macRoman, .dos437,
    ]

    private static func withOneLayerRemoved(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        if text.allSatisfy(\.isASCII) || !Mojibake.isPresent(in: text) { return text }
        for page in suspects {
            guard let bytes = page.encode(text) else { continue }
            if let decoded = decodeRepairing(bytes, from: page) { return decoded }
        }
        let inParts = repairingStretches(of: text)
        return inParts == text ? replacingC1(text) : inParts
    }

    private static func decodeRepairing(
        _ original: [UInt8],
        from page: CodePage,
    ) -> [Unicode.Scalar]? {
        var bytes = original
        if !page.hasDashAsLead, DamagedUTF8.hasSpacesForA0(bytes) {
            bytes = DamagedUTF8.restoringA0(bytes)
        }
        if page.isSloppy { bytes = DamagedUTF8.markingLosses(bytes) }
        return DamagedUTF8.decode(bytes)
    }

    /// Repairs mojibake within otherwise valid text.
    private static func repairingStretches(of text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        var result: [Unicode.Scalar] = []
        var kept = 0
        for stretch in Mojibake.utf8Stretches(in: text) {
            result += text[kept..<stretch.lowerBound]
            kept = stretch.upperBound
            let part = Array(text[stretch])
            // Recurse only for shorter text, so that this terminates.
            let isWorthTrying = part.count < text.count && Mojibake.isPresent(in: part)
            result += isWorthTrying ? repaired(part) : part
        }
        return result + text[kept...]
    }
}
