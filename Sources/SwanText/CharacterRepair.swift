import Foundation

/// Repairs that look at characters one by one, or at a few neighbours, whatever the encoding was.
/// Lone surrogates, which the reference repairs too, cannot occur in a Swift string.
enum CharacterRepair {
    /// The characters that each ligature of Latin letters is made of.
    static func splittingLigatures(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        text.flatMap { ligatures[$0] ?? [$0] }
    }

    /// Full-width ASCII, half-width katakana and hangul in their usual width; the ideographic
    /// space as a space.
    static func normalizingWidth(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        text.flatMap { scalar -> [Unicode.Scalar] in
            switch scalar.value {
            case 0x3000: [" "]
            case 0xFF01..<0xFFF0:
                Array(String(scalar).precomposedStringWithCompatibilityMapping.unicodeScalars)
            default: [scalar]
            }
        }
    }

    /// Straight quotation marks for curly ones.
    static func straighteningQuotes(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        text.map { scalar in
            switch scalar.value {
            case 0x02BC, 0x2018...0x201B: "'"
            case 0x201C...0x201F: "\""
            default: scalar
            }
        }
    }

    /// A line feed for each kind of line break.
    static func unifyingLineBreaks(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        var result: [Unicode.Scalar] = []
        result.reserveCapacity(text.count)
        for (index, scalar) in text.enumerated() {
            switch scalar {
            case "\n" where index > 0 && text[index - 1] == "\r": continue
            case "\r", "\u{2028}", "\u{2029}", "\u{85}": result.append("\n")
            default: result.append(scalar)
            }
        }
        return result
    }

    /// Without the sequences that colour the text of a terminal: escape, `[`, numbers, a letter.
    static func removingTerminalEscapes(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        guard text.contains("\u{1B}") else { return text }
        var result: [Unicode.Scalar] = []
        var index = 0
        while index < text.count {
            if text[index...].starts(with: ["\u{1B}", "["]) {
                let rest = text[(index + 2)...]
                let end = rest.firstIndex {
                    $0 != ";" && $0.properties.numericType != .decimal
                }
                if let end, ("a"..."z").contains(text[end]) || ("A"..."Z").contains(text[end]) {
                    index = end + 1
                    continue
                }
            }
            result.append(text[index])
            index += 1
        }
        return result
    }

    /// Without control characters that no text is meant to have. Line breaks and tabs stay, as do
    /// marks that join or direct characters, and C1, which `EncodingRepair` reads.
    static func removingControls(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        text.filter { scalar in
            switch scalar.value {
            case 0x00...0x08, 0x0B, 0x0E...0x1F, 0x7F, 0x206A...0x206F, 0xFEFF, 0xFFF9...0xFFFC:
                false
            default: true
            }
        }
    }

    /// Unicode's canonical composition (NFC).
    static func composing(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        // No scalar below the combining marks has anything to compose.
        guard text.contains(where: { $0.value >= 0x300 }) else { return text }
        return Array(String(text).precomposedStringWithCanonicalMapping.unicodeScalars)
    }

    /// Ligatures and digraphs that stand for letters in a row; those meant as letters of their own,
    /// such as æ, are not among them.
    private static let ligatures: [Unicode.Scalar: [Unicode.Scalar]] = [
        "Ĳ": ["I", "J"], "ĳ": ["i", "j"], "ŉ": ["ʼ", "n"],
        "Ǳ": ["D", "Z"], "ǲ": ["D", "z"], "ǳ": ["d", "z"],
        "Ǆ": ["D", "Ž"], "ǅ": ["D", "ž"], "ǆ": ["d", "ž"],
        "Ǉ": ["L", "J"], "ǈ": ["L", "j"], "ǉ": ["l", "j"],
        "Ǌ": ["N", "J"], "ǋ": ["N", "j"], "ǌ": ["n", "j"],
        "ﬀ": ["f", "f"], "ﬁ": ["f", "i"], "ﬂ": ["f", "l"], "ﬃ": ["f", "f", "i"],
        "ﬄ": ["f", "f", "l"], "ﬅ": ["ſ", "t"], "ﬆ": ["s", "t"],
    ]
}

extension String {
    /// A string of scalars.
    init(_ scalars: some Sequence<Unicode.Scalar>) {
        var view = String.UnicodeScalarView()
        view.append(contentsOf: scalars)
        self.init(view)
    }
}
