/// Undoes mojibake: text whose bytes were UTF-8 and were read through a single-byte page.
/// The order of the attempts is that of ftfy 6.3.
enum EncodingRepair {
    /// Repairs `text` until nothing changes, since such mistakes come in layers.
    static func repaired(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        var current = text
        while true {
            let next = withOneLayerRemoved(current)
            if next == current { return next }
            current = next
        }
    }

    /// The control characters of Latin-1 are never meant; Windows-1252 has characters there.
    static func replacingC1(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        text.map { scalar in
            (0x80...0x9F).contains(scalar.value)
                ? CodePage.windows1252.scalars[Int(scalar.value)] : scalar
        }
    }

    /// The pages that text is mistaken for, the likeliest first.
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

    /// Repairs stretches of mojibake inside of text that is otherwise sound.
    private static func repairingStretches(of text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        var result: [Unicode.Scalar] = []
        var kept = 0
        for stretch in Mojibake.utf8Stretches(in: text) {
            result += text[kept..<stretch.lowerBound]
            kept = stretch.upperBound
            let part = Array(text[stretch])
            // Only a shorter text is looked at again, so that this comes to an end.
            let isWorthTrying = part.count < text.count && Mojibake.isPresent(in: part)
            result += isWorthTrying ? repaired(part) : part
        }
        return result + text[kept...]
    }
}
