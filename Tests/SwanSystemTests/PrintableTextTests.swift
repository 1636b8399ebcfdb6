import Testing
import SwanSystem

@Suite struct PrintableTextTests {
    @Test(arguments: [
        ("blocks.0.self_attn.q.weight", "blocks.0.self_attn.q.weight"),
        ("héllo 素描 👩‍👩‍👧", "héllo 素描 👩‍👩‍👧"),
        ("a\u{1B}[2Jb", "a\\u{1b}[2Jb"),
        ("one\ntwo\ttabs", "one\\u{a}two\\u{9}tabs"),
        ("c1 \u{9B}31m", "c1 \\u{9b}31m"),
        ("\u{202E}fdp", "\\u{202e}fdp"),
        ("\r\n", "\\u{d}\\u{a}"),
    ])
    func escapesControlCharacters(text: String, shown: String) {
        #expect(text.printable() == shown)
    }

    @Test func keepsLinesOnRequest() {
        #expect("a\n\tb\u{7}".printable(keepsLines: true) == "a\n\tb\\u{7}")
    }

    @Test func truncatesLongText() {
        let text = String(repeating: "x", count: 11_000_000).printable()
        #expect(text == String(repeating: "x", count: 200) + "... (10999800 more characters)")
        // The limit also applies to one character with a million scalars.
        let accents = "e" + String(repeating: "\u{301}", count: 1_000_000)
        #expect(accents.printable().utf8.count < 1_000)
        let exact = String(repeating: "y", count: 200)
        #expect(exact.printable() == exact)
    }
}
