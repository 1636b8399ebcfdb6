/// A prompt as the text encoder takes it.
public struct TokenizedPrompt: Sendable, Equatable {
    /// The text that was tokenized, after cleaning.
    public let text: String
    /// Token ids, filled up with the pad id to the length asked for.
    public let ids: [Int32]
    /// How many of `ids` are of the prompt, its end mark among them; the rest is padding.
    public let count: Int
    /// What was changed so that the prompt could be used; worth a warning each.
    public let issues: [PromptIssue]

    /// The prompt's own ids, without padding.
    public var tokens: [Int32] { Array(ids.prefix(count)) }

    /// Whether tokens were cut off at the end.
    public var wasTruncated: Bool {
        issues.contains { if case .truncated = $0 { true } else { false } }
    }
}

/// Something about a prompt that its author should hear of.
public enum PromptIssue: Sendable, Equatable, CustomStringConvertible {
    /// The prompt has more tokens, its end mark among them, than the text encoder takes.
    case truncated(tokens: Int, limit: Int)
    /// Bytes that are not UTF-8 were replaced by U+FFFD.
    case invalidUTF8
    /// The prompt asks for no look that the model knows, so that it asks for no change instead.
    case unknownLook(prompt: String, known: [String], suggestion: String?)

    /// A sentence for a warning.
    public var description: String {
        switch self {
        case .truncated(let tokens, let limit):
            "the prompt has \(tokens) tokens and is cut at \(limit); what comes later has no effect"
        case .invalidUTF8:
            "the prompt is not valid UTF-8; its broken bytes are read as U+FFFD"
        case .unknownLook(let prompt, let known, let suggestion):
            """
            "\(Self.excerpt(prompt))" asks for no look that this model knows, so the video stays as it \
            is\(suggestion.map { " (did you mean \"\($0)\"?)" } ?? ""); it knows: \
            \(known.joined(separator: ", "))
            """
        }
    }

    /// The beginning of a long prompt.
    private static func excerpt(_ prompt: String) -> String {
        let limit = 60
        return prompt.count <= limit ? prompt : prompt.prefix(limit) + "..."
    }
}
