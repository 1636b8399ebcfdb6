/// Tells text that was decoded in the wrong encoding by neighbours that sound text does not have,
/// such as an accented small letter before a currency sign. The rules are those of ftfy 6.3.
enum Mojibake {
    /// Whether any rule finds its sequence of scalars in `text`.
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

    /// The stretches of `text` that look like UTF-8 read through a single-byte page: whole
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

    /// One place of a rule: the scalars that may stand there.
    private struct Place: Sendable {
        var classes: ScalarClass = []
        var scalars: [Unicode.Scalar] = []
        var isExcluding = false

        func accepts(_ scalar: Unicode.Scalar, _ scalarClass: ScalarClass) -> Bool {
            let isMember = !classes.isDisjoint(with: scalarClass) || scalars.contains(scalar)
            return isMember != isExcluding
        }
    }

    private struct Rule: Sendable {
        var places: [Place]
        /// Whether the rule holds at the beginning of the text only.
        var isAnchored = false

        var mayBeginWithASCII: Bool {
            !places[0].classes.isDisjoint(with: Rule.asciiClasses)
        }

        var beginsWithASCIIOnly: Bool {
            places[0].classes.isSubset(of: [.lowerASCII, .upperASCII]) && places[0].scalars.isEmpty
        }

        private static let asciiClasses: ScalarClass = [.lowerASCII, .upperASCII, .whitespace]

        func matches(
            _ text: [Unicode.Scalar],
            _ classes: [ScalarClass],
            at start: Int,
        ) -> Bool {
            guard start + places.count <= text.count, !isAnchored || start == 0 else {
                return false
            }
            return places.indices.allSatisfy {
                places[$0].accepts(text[start + $0], classes[start + $0])
            }
        }
    }

    private static func rule(_ places: Place...) -> Rule { Rule(places: places) }

    private static func any(_ classes: ScalarClass, or scalars: String = "") -> Place {
        Place(classes: classes, scalars: Array(scalars.unicodeScalars))
    }

    private static func one(_ scalars: String) -> Place { any([], or: scalars) }

    private static func not(_ classes: ScalarClass, or scalars: String = "") -> Place {
        Place(classes: classes, scalars: Array(scalars.unicodeScalars), isExcluding: true)
    }

    private static let accented: ScalarClass = [.upperAccented, .lowerAccented]
    private static let quotes: ScalarClass = [.opening, .closing]
    private static let letters: ScalarClass = [.upperASCII, .lowerASCII]

    // Most scalars of most texts are ASCII, which few rules begin with.
    private static let rulesFromASCII = rules.filter(\.mayBeginWithASCII)
    private static let rulesFromOthers = rules.filter { !$0.beginsWithASCIIOnly }

    private static let rules: [Rule] =
        neighbours + windows1252 + macRoman + windows1251 + windows1253 + [
            // Windows-1257's reading of scalars from U+2000 on.
            rule(one("ā"), one("€"))
        ]

    /// Classes that do not stand side by side in sound text.
    private static let neighbours: [Rule] = {
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

    /// Windows-1252's reading of UTF-8, beyond the general neighbours.
    private static let windows1252: [Rule] = {
        // Arabic is made of pairs that are common alone, so two pairs in a row are asked for.
        let arabicLead = one("ØÙ")
        let arabicNext = any(
            [.common, .currency, .bad, .numeric, .opening],
            or: "ŸŠ®°µ»"
        )
        return [
            rule(one("ÂÃÎÐ"), any(quotes, or: "€œŠš¢£Ÿž\u{A0}\u{AD}®©°·»–—´")),
            rule(one("×"), one("²³")),
            rule(arabicLead, arabicNext, arabicLead, arabicNext),
            // The beginning of three bytes of a South Asian script.
            rule(one("à"), one("²µ¹¼½¾")),
            // à, á and the no-break space; the latter may have become a plain space.
            rule(one("Ã"), one("\u{A0}¡")),
            rule(any(.lowerASCII), one("ÃÂ"), one(" ")),
            rule(any(.lowerASCII), any(.whitespace), one("ÃÂ"), one(" ")),
            Rule(places: [one("ÃÂ"), one(" ")], isAnchored: true),
            // Â before the very scalar that it encodes, within a sentence.
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
            // Scalars from U+2000 on.
            rule(one("в"), one("Ђ")),
            // Latin-1 and Cyrillic: pairs of them may be common, three in a row are not.
            rule(lead, any([.c1, .bad, .opening, .closing, .currency], or: "°µ"), lead),
            // Two mistakes on top of each other, beside a Latin letter.
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
