/// Detects text that was decoded with the wrong encoding, by sequences that do not occur in valid
/// text, such as an accented lowercase letter before a currency sign. The rules are those of ftfy
/// 6.3.
enum Mojibake {
    /// Whether any rule matches in `text`.
    static func isPresent(in text: [Unicode.Scalar]) -> Bool {
        let classes = text.map(ScalarClass.init(of:))
        return text.indices.contains { start in
            if text[start].isASCII {
                return rulesFromASCII.contains { $0.matches(text, classes, at: start) }
            }
            return !classes[start].isSubset(of: .word)
                && rulesFromOthers.contains { $0.matches(text, classes, at: start) }
        }
    }

    /// The ranges of `text` that look like UTF-8 decoded with a single-byte code page: complete
    /// sequences of a lead and its continuations, not preceded by another continuation.
    static func utf8Stretches(in text: [Unicode.Scalar]) -> [Range<Int>] {
        let classes = text.map(ScalarClass.init(of:))
        var stretches: [Range<Int>] = []
        var start = 0
        while start < text.count {
            var end = start
            if start == 0 || !classes[start - 1].contains(.strictContinuation) {
                while let length = sequenceLength(classes[end...]) { end += length }
            }
            if end > start { stretches.append(start..<end) }
            start = max(end, start + 1)
        }
        return stretches
    }

    private static func sequenceLength(_ classes: ArraySlice<ScalarClass>) -> Int? {
        guard let lead = classes.first else { return nil }
        let length: Int
        if lead.contains(.leadOf2) {
            length = 2
        } else if lead.contains(.leadOf3) {
            length = 3
        } else if lead.contains(.leadOf4) {
            length = 4
        } else {
            return nil
        }
        let rest = classes.dropFirst().prefix(length - 1)
        let isWhole = rest.count == length - 1 && rest.allSatisfy { $0.contains(.continuation) }
        return isWhole ? length : nil
    }

    /// One position of a rule: the scalars that match there.
    private struct Position: Sendable {
        var classes: ScalarClass = []
        var scalars: [Unicode.Scalar] = []
        var isExcluding = false

        func accepts(_ scalar: Unicode.Scalar, _ scalarClass: ScalarClass) -> Bool {
            let isMember = !classes.isDisjoint(with: scalarClass) || scalars.contains(scalar)
            return isMember != isExcluding
        }
    }

    private struct Rule: Sendable {
        var positions: [Position]
        /// Whether the rule matches only at the beginning of the text.
        var isAnchored = false

        var mayBeginWithASCII: Bool {
            !positions[0].classes.isDisjoint(with: Rule.asciiClasses)
        }

        var beginsWithASCIIOnly: Bool {
            positions[0].classes.isSubset(of: [.lowerASCII, .upperASCII])
                && positions[0].scalars.isEmpty
        }

        private static let asciiClasses: ScalarClass = [.lowerASCII, .upperASCII, .whitespace]

        func matches(
            _ text: [Unicode.Scalar],
            _ classes: [ScalarClass],
            at start: Int,
        ) -> Bool {
            guard start + positions.count <= text.count, !isAnchored || start == 0 else {
                return false
            }
            return positions.indices.allSatisfy {
                positions[$0].accepts(text[start + $0], classes[start + $0])
            }
        }
    }

    private static func rule(_ positions: Position...) -> Rule { Rule(positions: positions) }

    private static func any(_ classes: ScalarClass, or scalars: String = "") -> Position {
        Position(classes: classes, scalars: Array(scalars.unicodeScalars))
    }

    private static func one(_ scalars: String) -> Position { any([], or: scalars) }

    private static func not(_ classes: ScalarClass, or scalars: String = "") -> Position {
        Position(classes: classes, scalars: Array(scalars.unicodeScalars), isExcluding: true)
    }

    private static let accented: ScalarClass = [.upperAccented, .lowerAccented]
    private static let quotes: ScalarClass = [.opening, .closing]
    private static let letters: ScalarClass = [.upperASCII, .lowerASCII]

    // Most text is ASCII, which few rules start with.
    private static let rulesFromASCII = rules.filter(\.mayBeginWithASCII)
    private static let rulesFromOthers = rules.filter { !$0.beginsWithASCIIOnly }

    private static let rules: [Rule] =
        adjacent + windows1252 + macRoman + windows1251 + windows1253 + [
            // Windows-1257 for scalars from U+2000.
            rule(one("ā"), one("€"))
        ]

    /// Classes that are not adjacent in valid text.
    private static let adjacent: [Rule] = {
        let symbols: ScalarClass = [.box, .opening, .closing, .currency, .numeric, .law]
        let oddBesideBad = any(accented.union(symbols))
        return [
            rule(any(.c1)),
            rule(any(oddBesideBad.classes.union(.bad)), any(.bad)),
            rule(any(letters), any([.lowerCommon, .upperCommon]), any(.bad)),
            rule(any(.bad), oddBesideBad),
            rule(
                any([.lowerAccented, .lowerCommon, .box, .closing, .currency, .numeric]),
                any(.upperAccented)
            ),
            rule(any([.box, .closing, .currency, .numeric]), any(.lowerAccented)),
            rule(any([.lowerAccented, .box, .closing]), any(.currency)),
            rule(any(.whitespace), any(.upperAccented), any(.currency)),
            rule(any([.upperAccented, .box]), any([.numeric, .law])),
            rule(
                any(accented.union([.box, .currency, .closing])),
                any(.opening),
                any(.numeric)
            ),
            rule(
                any(accented.union([.currency, .numeric, .box, .law])),
                any(.closing),
                any(.opening)
            ),
            rule(any([.currency, .numeric, .box]), any(.opening)),
            rule(any(.lowerASCII), any(.upperAccented), any([.opening, .currency])),
            rule(any(.box), any(.kaomoji)),
            rule(
                any(accented.union([.currency, .numeric, .opening, .closing, .law])),
                any(.box)
            ),
            rule(any(.box), any(.closing)),
            rule(any(accented), any(quotes), any(.word)),
            rule(one("Œœ"), not(letters)),
            rule(any(.upperAccented), one("°")),
        ]
    }()

    /// UTF-8 decoded as Windows-1252, beyond the general rules.
    private static let windows1252: [Rule] = {
        // Single pairs of Arabic letters are also common in valid text, so require two.
        let arabicLead = one("ØÙ")
        let arabicNext = any(
            [.common, .currency, .bad, .numeric, .opening],
            or: "ŸŠ®°µ»"
        )
        return [
            rule(one("ÂÃÎÐ"), any(quotes, or: "€œŠš¢£Ÿž\u{A0}\u{AD}®©°·»–—´")),
            rule(one("×"), one("²³")),
            rule(arabicLead, arabicNext, arabicLead, arabicNext),
            // The first of three bytes of a South Asian script.
            rule(one("à"), one("²µ¹¼½¾")),
            // à, á and the no-break space, which may have become a space.
            rule(one("Ã"), one("\u{A0}¡")),
            rule(any(.lowerASCII), one("ÃÂ"), one(" ")),
            rule(any(.lowerASCII), any(.whitespace), one("ÃÂ"), one(" ")),
            Rule(positions: [one("ÃÂ"), one(" ")], isAnchored: true),
            // Â before the scalar that it encodes, within a sentence.
            rule(
                any([.lowerASCII, .closing], or: ".,?!"),
                one("Â"),
                any(quotes, or: " ")
            ),
        ]
    }()

    private static let macRoman: [Rule] = [
        rule(one("√"), one("±∂†≠®™´≤≥¥µø")),
        rule(one("≈"), one("°¢")),
        rule(one("‚"), one("Ä"), one("ìîïòôúùû†°¢π")),
        rule(one("‚"), one("âó"), one("àä°ê")),
    ]

    private static let windows1251: [Rule] = {
        let lead = one("ВГРС")
        return [
            // Scalars from U+2000.
            rule(one("в"), one("Ђ")),
            // Latin-1 and Cyrillic: pairs may be common, but three in a row are not.
            rule(lead, any([.c1, .bad, .opening, .closing, .currency], or: "°µ"), lead),
            // Two layers of mojibake, next to a Latin letter.
            rule(
                one("Г"),
                one("ў"),
                one("В"),
                one("Ђ"),
                one("В"),
                not([], or: "\n"),
                any(letters, or: " ")
            ),
        ]
    }()

    private static let windows1253: [Rule] = {
        let lead = one("ΒΓΞΟ")
        return [
            rule(one("β"), one("€"), one("™\u{A0}Ά\u{AD}®°")),
            rule(lead, any([.c1, .bad, .opening, .closing, .currency], or: "°"), lead),
        ]
    }()
}
