package import SwanText

/// The styles that a model was trained on, and the phrases that request them.
///
/// A small model maps every prompt to one of its styles, so an unknown prompt produces an arbitrary
/// similar one. If a model declares its styles, other prompts are replaced by one that requests no change.
public struct KnownStyles: Sendable, Equatable, Encodable {
    /// A style.
    public struct Entry: Sendable, Equatable, Encodable {
        /// The style's name, which is also a prompt for it.
        public let name: String
        /// The phrases that request it anywhere in a prompt: whole words, regardless of case and punctuation.
        public let phrases: [String]

        /// Creates a style with a name and the phrases that request it.
        public init(name: String, phrases: [String]) {
            self.name = name
            self.phrases = phrases
        }
    }

    /// Prompts that request no change. The first one replaces prompts without a known style.
    public let noChange: [String]
    /// The styles that the model knows.
    public let known: [Entry]
    private let spoken: SpokenPhrases

    /// Creates an instance from styles and the prompts that request no change.
    public init(noChange: [String], known: [Entry]) {
        self.noChange = noChange
        self.known = known
        spoken = SpokenPhrases(known.flatMap { [$0.name] + $0.phrases })
    }

    private enum CodingKeys: String, CodingKey {
        case noChange = "no_change", known
    }

    /// Whether two instances have the same styles and prompts.
    public static func == (a: KnownStyles, b: KnownStyles) -> Bool {
        a.noChange == b.noChange && a.known == b.known
    }

    /// Whether a prompt requests a known style, or no change.
    public func recognizes(_ prompt: String) -> Bool {
        let words = SpokenPhrases.words(of: prompt)
        return spoken.areAsked(in: words)
            || noChange.contains { SpokenPhrases.words(of: $0) == words }
    }

    /// Returns the part of a prompt to pass to the model: all of it or, if it declines a style, only the
    /// phrases that request one. The model would take "no neon, sepia" for neon.
    package func requested(in prompt: String) -> String {
        let (asked, declined) = spoken.phrases(in: SpokenPhrases.words(of: prompt))
        return declined && !asked.isEmpty ? asked.joined(separator: ", ") : prompt
    }

    /// Returns the issue to report for a prompt; nil if the model knows the requested style.
    ///
    /// - Parameters:
    ///   - prompt: The prompt.
    ///   - heard: The part of the prompt that the model receives, if not all of it.
    package func issue(with prompt: String, heard: String? = nil) -> PromptIssue? {
        guard !recognizes(heard ?? prompt) else { return nil }
        return .unknownStyle(
            prompt: prompt,
            known: known.map(\.name),
            suggestion: spoken.nearest(to: SpokenPhrases.words(of: prompt))
        )
    }
}

/// Phrases to find in prompts, as sequences of words.
private struct SpokenPhrases: Sendable {
    private let phrases: [(text: String, words: [String])]
    /// Indices into `phrases`, by the first word of the phrase.
    private let byFirstWord: [String: [Int]]

    init(_ texts: [String]) {
        phrases = texts.map { ($0, Self.words(of: $0)) }.filter { !$0.1.isEmpty }
        byFirstWord = Dictionary(grouping: phrases.indices) { [phrases] in phrases[$0].words[0] }
    }

    /// Returns the words of a text in lowercase, without punctuation.
    static func words(of text: String) -> [String] {
        text.lowercased().split { !$0.isLetter && !$0.isNumber }.map(String.init)
    }

    /// Whether a text contains one of the phrases without declining it.
    func areAsked(in words: [String]) -> Bool { !phrases(in: words).asked.isEmpty }

    /// Returns the phrases that a text requests, and whether it declines any.
    func phrases(in words: [String]) -> (asked: [String], declined: Bool) {
        var asked: [String] = []
        var declined = false
        var end = 0
        for start in words.indices where start >= end {
            let found = candidates(at: words[start]).filter {
                Self.stands($0, in: words, at: start)
            }
            guard let longest = found.max(by: { $0.count < $1.count }) else { continue }
            end = start + longest.count
            if Self.isDeclined(words, from: start, to: end) {
                declined = true
            } else {
                asked.append(longest.joined(separator: " "))
            }
        }
        return (asked, declined)
    }

    private func candidates(at word: String) -> [[String]] {
        // "comics" starts the same phrases as "comic".
        let singulars = Self.plurals.filter(word.hasSuffix).map { String(word.dropLast($0.count)) }
        return ([word] + singulars).flatMap { byFirstWord[$0, default: []] }
            .map { phrases[$0].words }
    }

    private static func stands(_ phrase: [String], in words: [String], at start: Int) -> Bool {
        guard start + phrase.count <= words.count else { return false }
        return zip(phrase, words[start...]).allSatisfy { wanted, word in
            wanted == word || plurals.contains { wanted + $0 == word }
        }
    }

    private static let plurals = ["s", "es"]

    /// Whether a phrase is preceded by "no", "not a", "don't make it" or similar, or followed by "free".
    private static func isDeclined(_ words: [String], from start: Int, to end: Int) -> Bool {
        if end < words.count, words[end] == "free" { return true }
        if start >= 2, words[start - 1] == "but",
            ["anything", "everything"].contains(words[start - 2])
        {
            return true
        }
        let before = words[..<start].suffix(5).reversed()
        let first = before.first { !fillers.contains($0) }
        return first.map(denials.contains) ?? false
    }

    private static let fillers: Set<String> = [
        "a", "an", "any", "apply", "as", "at", "in", "into", "it", "like", "look", "make", "the",
        "this", "to", "turn", "use", "want",
    ]
    /// "t" is the rest of "don't" after splitting.
    private static let denials: Set<String> = [
        "avoid", "dont", "except", "less", "minus", "never", "no", "non", "not", "remove", "t",
        "without",
    ]

    // MARK: - Suggestions

    /// Returns the phrase nearest to words of the text, if these may be a misspelling of it.
    func nearest(to words: [String]) -> String? {
        // Only look for misspellings where a reader would notice one.
        let words = words.prefix(24).filter { $0.count <= 24 }
        var best: (text: String, distance: Int)?
        for (text, phrase) in phrases {
            let joined = phrase.joined(separator: " ")
            let lengths = Set([1, phrase.count]).filter { $0 <= words.count }
            for length in lengths {
                for start in 0...(words.count - length) {
                    let said = words[start..<(start + length)].joined(separator: " ")
                    let distance = editDistance(said, joined)
                    let allowed = said.count < 4 ? 0 : said.count < 8 ? 1 : 2
                    guard distance > 0, distance <= allowed, said.first == joined.first,
                        distance < best?.distance ?? .max
                    else { continue }
                    best = (text, distance)
                }
            }
        }
        return best?.text
    }
}
