/// Repairs text like ftfy's `fix_text` with its default settings (ftfy 6.3; Robyn Speer, "ftfy",
/// Zenodo, 2019): wrong encodings, entities, widths, ligatures, quotes, control characters.
enum TextRepair {
    /// Text is repaired line by line, and longer lines in segments of this many scalars.
    private static let maxSegmentLength = 1_000_000

    /// The repaired text.
    static func repaired(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        var result: [Unicode.Scalar] = []
        var start = 0
        // From the first line with "<", treat the text as HTML, whose entities are intended.
        var isMarkup = false
        while start < text.count {
            let feed = text[start...].firstIndex(of: "\n") ?? text.count - 1
            let end = min(feed + 1, start + maxSegmentLength)
            let segment = Array(text[start..<end])
            isMarkup = isMarkup || segment.contains("<")
            result += repairedSegment(segment, unescaping: !isMarkup)
            start = end
        }
        return result
    }

    /// Applies all repairs until nothing changes, because one may enable another.
    private static func repairedSegment(
        _ segment: [Unicode.Scalar],
        unescaping: Bool,
    ) -> [Unicode.Scalar] {
        var current = segment
        while true {
            var next = current
            if unescaping { next = HTMLEntities.unescapingStrictly(next) }
            next = EncodingRepair.repaired(next)
            next = EncodingRepair.replacingC1(next)
            next = CharacterRepair.splittingLigatures(next)
            next = CharacterRepair.normalizingWidth(next)
            next = CharacterRepair.straighteningQuotes(next)
            next = CharacterRepair.unifyingLineBreaks(next)
            next = CharacterRepair.removingTerminalEscapes(next)
            next = CharacterRepair.removingControls(next)
            next = CharacterRepair.composing(next)
            if next == current { return next }
            current = next
        }
    }
}
