import Testing

@testable import SwanText

@Suite struct PromptCleaningTests {
    @Test func cleansLikeTheReference() throws {
        let cases = try Goldens.load().cleaning
        #expect(cases.count > 600)
        for pair in cases {
            let cleaned = cleanPrompt(pair[0])
            // String's == ignores differences between canonically equivalent texts.
            #expect(visible(cleaned) == visible(pair[1]), "from \(visible(pair[0]))")
        }
    }

    @Test func codePagesMatchTheReference() throws {
        let pages: [String: CodePage] = [
            "latin1": .latin1, "windows1250": .windows1250, "windows1251": .windows1251,
            "windows1252": .windows1252, "windows1253": .windows1253,
            "windows1254": .windows1254, "windows1257": .windows1257,
            "iso8859Part2": .iso8859Part2, "macRoman": .macRoman, "dos437": .dos437,
        ]
        let goldens = try Goldens.load().pages
        #expect(goldens.keys.sorted() == pages.keys.sorted())
        for (name, page) in pages {
            #expect(page.scalars.map(\.value) == goldens[name], "\(name)")
        }
    }

    @Test func keepsCleanText() {
        for text in ["a fox in the snow", "雪の中の狐", "лиса в снегу", "🦊 ❄️", "café à la crème"] {
            #expect(cleanPrompt(text) == text)
        }
    }

    @Test func brokenUTF8BecomesReplacementCharacters() {
        #expect(cleanPrompt(bytes: [0x61, 0xFF, 0x62]) == "a\u{FFFD}b")
        #expect(cleanPrompt(bytes: [0xF0, 0x9F, 0xA6]) == "\u{FFFD}")
        #expect(cleanPrompt(bytes: [UInt8]()) == "")
    }

    @Test func cleansAnyBytes() {
        var generator = SplitMix64(state: 7)
        for _ in 0..<300 {
            let count = Int.random(in: 0...60, using: &generator)
            let bytes = (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
            let once = cleanPrompt(bytes: bytes)
            #expect(!once.hasPrefix(" ") && !once.hasSuffix(" "))
        }
    }

    @Test func cleansLongTextsCompletely() {
        let long = String(repeating: "Ã©tÃ© ", count: 4_000)
        #expect(cleanPrompt(long) == String(repeating: "été ", count: 3_999) + "été")
    }

    @Test func nestedEscapesTerminate() {
        let layers = "&" + String(repeating: "amp;", count: 25_000) + "lt;"
        #expect(cleanPrompt(layers) == "<")
    }
}

/// A random number generator with the same sequence on every platform (Steele et al., 2014).
struct SplitMix64: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
