import Foundation

/// Repairs of single characters or short sequences, independent of the encoding. Lone surrogates,
/// which the reference also repairs, cannot occur in a Swift string.
enum CharacterRepair {
    /// Splits ligatures of Latin letters.
    static func splittingLigatures(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        text.flatMap { ligatures[$0] ?? [$0] }
    }

    /// Converts full-width ASCII, half-width katakana and hangul to normal width, and the
    /// ideographic space to a space.
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

    /// Replaces curly quotation marks by straight ones.
    static func straighteningQuotes(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        text.map { scalar in
            switch scalar.value {
            case 0x02BC, 0x2018...0x201B: "'"
            case 0x201C...0x201F: "\""
            default: scalar
            }
        }
    }

    /// Replaces every kind of line break by a line feed.
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

    /// Removes terminal escape sequences: escape, `[`, numbers, a letter.
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

    /// Removes control characters, except for line breaks, tabs, joiners, direction marks, and C1
    /// controls, which `EncodingRepair` interprets.
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
        // Scalars below the combining marks cannot be composed.
        guard text.contains(where: { $0.value >= 0x300 }) else { return text }
        return Array(String(text).precomposedStringWithCanonicalMapping.unicodeScalars)
    }

    /// Ligatures and digraphs that represent several letters, without those that are separate
    /// letters, such as æ.
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
    /// Creates a string from scalars.
    init(_ scalars: some Sequence<Unicode.Scalar>) {
        var view = String.UnicodeScalarView()
        view.append(contentsOf: scalars)
        self.init(view)
    }
}
