package import SwanText

/// The looks that a model was taught, and what asks for them.
///
/// A small model hears every prompt as one of its looks: what it was not taught comes out as whichever
/// is near. Where a model says what it knows, other prompts are replaced by one that asks for no change.
public struct KnownLooks: Sendable, Equatable, Encodable {
    /// A look.
    public struct Look: Sendable, Equatable, Encodable {
        /// What it is called, which is a prompt for it.
        public let name: String
        /// What asks for it, anywhere in a prompt: whole words, in whatever case and punctuation.
        public let phrases: [String]

        /// A look of a name, asked for by phrases.
        public init(name: String, phrases: [String]) {
            self.name = name
            self.phrases = phrases
        }
    }

    /// Prompts that ask for no change; the first takes the place of prompts of no known look.
    public let noChange: [String]
    /// The looks.
    public let known: [Look]
    private let spoken: SpokenPhrases

    /// Looks, and prompts that ask for none.
    public init(noChange: [String], known: [Look]) {
        self.noChange = noChange
        self.known = known
        spoken = SpokenPhrases(known.flatMap { [$0.name] + $0.phrases })
    }

    private enum CodingKeys: String, CodingKey {
        case noChange = "no_change", known
    }

    /// Whether two know the same.
    public static func == (a: KnownLooks, b: KnownLooks) -> Bool {
        a.noChange == b.noChange && a.known == b.known
    }

    /// Whether a prompt asks for a look that is known, or for none.
    public func hears(_ prompt: String) -> Bool {
        let words = SpokenPhrases.words(of: prompt)
        return spoken.areAsked(in: words)
            || noChange.contains { SpokenPhrases.words(of: $0) == words }
    }

    /// What the model is to hear of a prompt: all of it, or, where a look in it is declined, only the
    /// phrases that ask for one. The model would hear "no neon, sepia" as neon.
    package func wanted(in prompt: String) -> String {
        let (asked, declined) = spoken.phrases(in: SpokenPhrases.words(of: prompt))
        return declined && !asked.isEmpty ? asked.joined(separator: ", ") : prompt
    }

    /// What is to be said of a prompt; nil where the model knows what it asks for.
    ///
    /// - Parameter heard: what of the prompt the model gets to hear, where that is not all.
    package func issue(with prompt: String, heard: String? = nil) -> PromptIssue? {
        guard !hears(heard ?? prompt) else { return nil }
        return .unknownLook(
            prompt: prompt,
            known: known.map(\.name),
            suggestion: spoken.nearest(to: SpokenPhrases.words(of: prompt))
        )
    }
}

/// Phrases as they are found in prompts: sequences of words.
private struct SpokenPhrases: Sendable {
    private let phrases: [(text: String, words: [String])]
    /// The places in `phrases` of those that begin with a word.
    private let byFirstWord: [String: [Int]]

    init(_ texts: [String]) {
        phrases = texts.map { ($0, Self.words(of: $0)) }.filter { !$0.1.isEmpty }
        byFirstWord = Dictionary(grouping: phrases.indices) { [phrases] in phrases[$0].words[0] }
    }

    /// The words of a text in lower case, without punctuation.
    static func words(of text: String) -> [String] {
        text.lowercased().split { !$0.isLetter && !$0.isNumber }.map(String.init)
    }

    /// Whether one of the phrases stands in a text without being declined.
    func areAsked(in words: [String]) -> Bool { !phrases(in: words).asked.isEmpty }

    /// The phrases that a text asks for, and whether it declines any.
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
        // "comics" begins what "comic" begins.
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

    /// Whether "no", "not a", "don't make it" or the like stands before a phrase, or "free" behind it.
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
    /// "t" is what is left of "don't".
    private static let denials: Set<String> = [
        "avoid", "dont", "except", "less", "minus", "never", "no", "non", "not", "remove", "t",
        "without",
    ]

    // MARK: - What may have been meant

    /// The phrase that words of a text are nearest to, where it may be a slip of the keyboard.
    func nearest(to words: [String]) -> String? {
        // A slip is looked for where a person would see it.
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
