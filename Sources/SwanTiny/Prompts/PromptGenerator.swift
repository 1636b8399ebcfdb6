import SwanTraining

/// Generates prompts as people write them: bare phrases and sentences with a scene, in varying case
/// and punctuation.
///
/// Prompts for "no change" are scenes alone, requests to leave things alone, looks that the model
/// was not trained on, and nonsense: a small model must not produce garbage for what it does not
/// know.
package struct PromptGenerator: Sendable {
    private let styles: [Style]
    private let unknownStyles: [String]
    private let seed: UInt64

    /// Creates a generator for `styles`; a look that none of them is named after counts as unknown.
    package init(styles: [Style], seed: UInt64) {
        self.styles = styles
        self.seed = seed
        let words = Set(styles.flatMap(\.phrasings).flatMap(Self.words))
        unknownStyles = PromptPhrases.looks.filter { words.isDisjoint(with: Self.words($0)) }
    }

    /// Returns prompt number `index` for `style`, which depends only on the seed, the style's name
    /// and the index.
    package func prompt(for style: Style, index: UInt64) -> String {
        var random = SampleRandom(seed: seed, index: index, purpose: Self.purpose(of: style.name))
        let text = style.changesNothing ? noChange(&random) : sentence(style.phrasings, &random)
        return written(text, &random)
    }

    /// Returns `count` prompts to train a tokenizer on, including every style and every phrasing.
    package func corpus(count: Int) -> [String] {
        let wanted = styles.contains(where: \.changesNothing) ? styles : [.none] + styles
        let bare = styles.flatMap(\.phrasings) + PromptPhrases.scenes
        let rest = (0..<max(0, count - bare.count)).map { index in
            prompt(for: wanted[index % wanted.count], index: UInt64(index / wanted.count))
        }
        return Array((bare + rest).prefix(count))
    }

    private func sentence(_ phrasings: [String], _ random: inout SampleRandom) -> String {
        // One in five is a bare phrase, as is common on the command line.
        guard !random.chance(0.2) else { return random.pick(phrasings) }
        return filled(random.pick(PromptPhrases.sentences), random.pick(phrasings), &random)
    }

    private func noChange(_ random: inout SampleRandom) -> String {
        switch random.pick(weights: [0.3, 0.25, 0.25, 0.1, 0.05, 0.05]) {
        case 0: return scene(&random)
        case 1: return random.pick(PromptPhrases.requestsToKeep)
        case 2 where !unknownStyles.isEmpty: return sentence(unknownStyles, &random)
        case 3: return nonsense(Self.letters, &random)
        case 4: return nonsense(PromptPhrases.signs, &random)
        default: return ""
        }
    }

    private static let letters = "abcdefghijklmnopqrstuvwxyz0123456789".map(String.init)

    private func nonsense(_ signs: [String], _ random: inout SampleRandom) -> String {
        let words = (0..<random.integer(1..<5)).map { _ in
            (0..<random.integer(1..<10)).map { _ in random.pick(signs) }.joined()
        }
        return words.joined(separator: " ")
    }

    private func filled(
        _ sentence: String,
        _ phrase: String,
        _ random: inout SampleRandom
    ) -> String {
        let start = phrase.prefix { $0 != " " }
        let takesArticle = !PromptPhrases.startsWithoutArticle.contains(String(start))
        let article = takesArticle && random.chance(0.5) ? "a " : ""
        let text = sentence.replacing("{scene}", with: scene(&random))
            .replacing("{look}", with: article + phrase)
        guard random.chance(0.15) else { return text }
        let praise = (0..<random.integer(1..<4)).map { _ in random.pick(PromptPhrases.praise) }
        return ([text] + praise).joined(separator: ", ")
    }

    /// Returns a description of the content: occasionally several things, or unlisted words.
    private func scene(_ random: inout SampleRandom) -> String {
        switch random.pick(weights: [0.65, 0.2, 0.15]) {
        case 0: return random.pick(PromptPhrases.scenes)
        case 1:
            let parts = (random.pick(PromptPhrases.scenes), random.pick(PromptPhrases.scenes))
            return parts.0 + random.pick([" and ", ", ", " next to "]) + parts.1
        default: return "a " + nonsense(Self.letters, &random)
        }
    }

    /// Varies the capitalization and punctuation of a text.
    private func written(_ text: String, _ random: inout SampleRandom) -> String {
        var text = text
        switch random.pick(weights: [0.6, 0.3, 0.1]) {
        case 0: break
        case 1: text = text.prefix(1).uppercased() + text.dropFirst()
        default: text = text.uppercased()
        }
        guard !text.isEmpty, random.chance(0.2) else { return text }
        return text + random.pick([".", "!", " ", "...", ","])
    }

    private static func words(_ text: String) -> [String] {
        text.split(separator: " ").map(String.init).filter { $0.count > 3 }
    }

    /// The FNV-1a hash of a name, so that a style's prompts do not depend on the other styles.
    private static func purpose(of name: String) -> UInt64 {
        name.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    }
}
