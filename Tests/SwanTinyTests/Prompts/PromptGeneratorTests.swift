import SwanTiny
import SwanTraining
import Testing

@Suite struct PromptGeneratorTests {
    private let prompts = PromptGenerator(styles: Style.bundled, seed: 1)

    @Test func promptsDependOnlyOnSeedStyleAndIndex() {
        let again = PromptGenerator(styles: Style.bundled, seed: 1)
        let other = PromptGenerator(styles: Style.bundled, seed: 2)
        let texts = (0..<50 as Range<UInt64>).map { prompts.prompt(for: .neon, index: $0) }
        #expect(texts == (0..<50).map { again.prompt(for: .neon, index: $0) })
        #expect(texts != (0..<50).map { other.prompt(for: .neon, index: $0) })
        #expect(Set(texts).count > 30)
    }

    @Test(arguments: Style.bundled.dropFirst()) func everyPromptAsksForItsStyle(style: Style) {
        var seen: Set<String> = []
        for index in 0..<400 as Range<UInt64> {
            let text = prompts.prompt(for: style, index: index).lowercased()
            let found = style.phrasings.filter { text.contains($0.lowercased()) }
            #expect(!found.isEmpty, "'\(text)' does not ask for \(style)")
            seen.formUnion(found)
        }
        #expect(seen == Set(style.phrasings))
    }

    @Test func promptsForNoChangeNameNoStyle() {
        let phrasings = Style.bundled.flatMap(\.phrasings)
        var texts: Set<String> = []
        for index in 0..<1_000 as Range<UInt64> {
            let text = prompts.prompt(for: .none, index: index)
            texts.insert(text)
            let words = " \(text.lowercased()) "
            #expect(!phrasings.contains { words.contains(" \($0.lowercased()) ") }, "'\(text)'")
        }
        #expect(texts.contains(""))
        #expect(texts.contains { $0.lowercased().hasPrefix("no change") })
        #expect(texts.contains { !$0.utf8.allSatisfy { $0 < 128 } })
        #expect(texts.contains { $0.lowercased().contains("oil painting") })
    }

    @Test func taughtLooksAreNotUsedAsUnknownOnes() {
        let oil = Style(name: "oil", phrasings: ["oil painting"], filters: [.blur(sigma: 2)])
        let taught = PromptGenerator(styles: [.none, oil], seed: 1)
        for index in 0..<1_000 as Range<UInt64> {
            let text = taught.prompt(for: .none, index: index).lowercased()
            #expect(!text.contains("painting"), "'\(text)'")
        }
    }

    @Test func corpusContainsEveryPhrasing() {
        let corpus = prompts.corpus(count: 2_000)
        #expect(corpus.count == 2_000)
        let all = Set(corpus)
        for style in Style.bundled {
            #expect(style.phrasings.allSatisfy(all.contains))
        }
        #expect(corpus.contains { $0.first?.isUppercase == true })
        #expect(corpus == PromptGenerator(styles: Style.bundled, seed: 1).corpus(count: 2_000))
        #expect(prompts.corpus(count: 3).count == 3)
    }
}
