/// The roles of a scalar in mojibake, after the character groups of the ftfy library (Speer, 2019).
struct ScalarClass: OptionSet, Sendable {
    let rawValue: UInt32

    /// Too common in valid text to indicate mojibake.
    static let common = ScalarClass(rawValue: 1 << 0)
    /// U+0080 to U+009F, which never occur in valid text.
    static let c1 = ScalarClass(rawValue: 1 << 1)
    /// Rare except in mojibake.
    static let bad = ScalarClass(rawValue: 1 << 2)
    static let law = ScalarClass(rawValue: 1 << 3)
    static let currency = ScalarClass(rawValue: 1 << 4)
    static let opening = ScalarClass(rawValue: 1 << 5)
    static let closing = ScalarClass(rawValue: 1 << 6)
    static let numeric = ScalarClass(rawValue: 1 << 7)
    /// Letters used in emoticons such as (ó_ò), which have unusual neighbors.
    static let kaomoji = ScalarClass(rawValue: 1 << 8)
    static let upperAccented = ScalarClass(rawValue: 1 << 9)
    static let lowerAccented = ScalarClass(rawValue: 1 << 10)
    static let upperCommon = ScalarClass(rawValue: 1 << 11)
    static let lowerCommon = ScalarClass(rawValue: 1 << 12)
    static let box = ScalarClass(rawValue: 1 << 13)
    static let upperASCII = ScalarClass(rawValue: 1 << 14)
    static let lowerASCII = ScalarClass(rawValue: 1 << 15)
    static let whitespace = ScalarClass(rawValue: 1 << 16)
    /// Letters, digits and the underscore of any script.
    static let word = ScalarClass(rawValue: 1 << 17)

    /// Decoded from the lead byte of a UTF-8 sequence of two, three or four bytes.
    static let leadOf2 = ScalarClass(rawValue: 1 << 18)
    static let leadOf3 = ScalarClass(rawValue: 1 << 19)
    static let leadOf4 = ScalarClass(rawValue: 1 << 20)
    /// Decoded from a UTF-8 continuation byte, or the space that replaced byte A0.
    static let continuation = ScalarClass(rawValue: 1 << 21)
    /// Members of `continuation` that are rarely next to mojibake in valid text.
    static let strictContinuation = ScalarClass(rawValue: 1 << 22)

    /// The classes of a scalar.
    init(of scalar: Unicode.Scalar) {
        var classes = ScalarClass.table[scalar] ?? []
        switch scalar {
        case "a"..."z": classes.formUnion([.lowerASCII, .word])
        case "A"..."Z": classes.formUnion([.upperASCII, .word])
        case "0"..."9", "_": classes.insert(.word)
        default:
            if scalar.isPythonSpace { classes.insert(.whitespace) }
            if !scalar.isASCII, scalar.isAlphanumeric { classes.insert(.word) }
        }
        self = classes
    }

    init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// Scalars by class, as hexadecimal code points and ranges of them.
    private static let members: [(ScalarClass, String)] = [
        (.common, "A0 AD B4 B7 2013-2015 2019 2026"),
        (.c1, "80-9F"),
        (
            .bad,
            """
            A4 A6 A8 AA AC AF B8 BA 192 2C6-2C7 2D8 2DB-2DC 2020-2021 2030 2310 25CA FFFD
            """
        ),
        (.law, "A7 B6"),
        (.currency, "A2-A3 A5 20A7 20AC"),
        (.opening, "A1 A9 AB BF 384-385 2018 201A 201C 201E 2022 2039 F8FF"),
        (.closing, "AE BB 2DD 201D 203A 2122"),
        (
            .numeric,
            """
            B1-B3 B5 B9 BC-BE D7 F7 2044 2116 2202 2206 220F 2211 221A 221E 2229 222B 2248 \
            2260-2261 2264-2265
            """
        ),
        (.kaomoji, "B0 D2-D6 D9-DC F2-F6 F8-FC 14C 150 16A 172"),
        (
            .upperAccented,
            """
            C0-D1 D8 DC-DD 100 102 104 106 10C 10E 110 112 116 118 11A 11E 122 12A 130 136 139 \
            13B 13D 141 143 145 147 152 158 15A 15E 160 162 164 16E 170 178-179 17B 17D 490
            """
        ),
        (
            .lowerAccented,
            """
            DF-F1 FC 101 103 105 107 10D 10F 111 113 117 119 11B 11F 123 12B 12F 137 13A 13C \
            13E 142 153 155 15B 15F 161 165 17A 17C 17E 491 FB01-FB02
            """
        ),
        (.upperCommon, "DE 386 388-38A 38C 38E-38F 391-3AB 401-42F"),
        (.lowerCommon, "3AC-3C9 430-45F"),
        (
            .box,
            """
            2502 250C 2510 2518 251C 2524 252C 253C 2550-256C 2580 2584 2588 258C 2590-2593
            """
        ),
    ]

    private static let table: [Unicode.Scalar: ScalarClass] = {
        var table: [Unicode.Scalar: ScalarClass] = [:]
        for (scalarClass, ranges) in members {
            for range in ranges.split(separator: " ") {
                let bounds = range.split(separator: "-").compactMap { UInt32($0, radix: 16) }
                guard let low = bounds.first, let high = bounds.last else { continue }
                for scalar in (low...high).compactMap(Unicode.Scalar.init) {
                    table[scalar, default: []].insert(scalarClass)
                }
            }
        }
        for page in utf8Pages {
            for (scalarClass, bytes) in utf8Bytes {
                for byte in bytes where page.scalars[byte].value > 0x7F {
                    table[page.scalars[byte], default: []].insert(scalarClass)
                }
            }
        }
        table[" ", default: []].insert(.continuation)
        for punctuation in "–—―‘’‚“”„•…".unicodeScalars {
            table[punctuation, default: []].remove(.strictContinuation)
        }
        return table
    }()

    /// Code pages whose bytes from C2 are letters, so that a UTF-8 sequence looks like a word.
    private static let utf8Pages: [CodePage] = [
        .latin1, .windows1250, .windows1251, .windows1252, .windows1253, .windows1254,
        .windows1257,
    ]

    /// The bytes of UTF-8 by role. Of the lead bytes of four, only F0 and F3 start assigned
    /// scalars.
    private static let utf8Bytes: [(ScalarClass, [Int])] = [
        (.leadOf2, Array(0xC2...0xDF)),
        (.leadOf3, Array(0xE0...0xEF)),
        (.leadOf4, [0xF0, 0xF3]),
        ([.continuation, .strictContinuation], Array(0x80...0xBF)),
    ]
}

extension Unicode.Scalar {
    /// Python's `str.isspace`, which unlike Unicode's White_Space includes U+001C to U+001F.
    var isPythonSpace: Bool {
        switch value {
        case 0x09...0x0D, 0x1C...0x20, 0x85, 0xA0, 0x1680, 0x2000...0x200A, 0x2028, 0x2029,
            0x202F, 0x205F, 0x3000:
            true
        default: false
        }
    }

    /// Python's `str.isalnum`.
    var isAlphanumeric: Bool {
        if properties.numericType != nil { return true }
        switch properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter:
            return true
        default: return false
        }
    }
}
