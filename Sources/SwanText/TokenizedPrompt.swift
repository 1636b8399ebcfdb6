/// A tokenized prompt, the input of the text encoder.
public struct TokenizedPrompt: Sendable, Equatable {
    /// The text that was tokenized, after cleaning.
    public let text: String
    /// Token ids, padded to the requested length.
    public let ids: [Int32]
    /// The number of `ids` of the prompt, including the end token; the rest is padding.
    public let count: Int
    /// Problems with the prompt, each worth a warning.
    public let issues: [PromptIssue]

    /// The ids without padding.
    public var tokens: [Int32] { Array(ids.prefix(count)) }

    /// Whether the prompt was truncated.
    public var wasTruncated: Bool {
        issues.contains { if case .truncated = $0 { true } else { false } }
    }
}

/// A problem with a prompt that the user should know about.
public enum PromptIssue: Sendable, Equatable, CustomStringConvertible {
    /// The prompt has more tokens, including the end token, than the text encoder supports.
    case truncated(tokens: Int, limit: Int)
    /// Bytes that are not UTF-8 were replaced by U+FFFD.
    case invalidUTF8
    /// The prompt matches no style that the model knows, and is replaced by one that asks for no
    /// change.
    case unknownStyle(prompt: String, known: [String], suggestion: String?)

    /// The text of a warning.
    public var description: String {
        switch self {
        case .truncated(let tokens, let limit):
            "the prompt has \(tokens) tokens and is truncated to \(limit); the rest has no effect"
        case .invalidUTF8:
            "the prompt is not valid UTF-8; its invalid bytes are replaced by U+FFFD"
        case .unknownStyle(let prompt, let known, let suggestion):
            """
            "\(Self.excerpt(prompt))" matches no style that this model knows, so the video is left \
            unchanged\(suggestion.map { " (did you mean \"\($0)\"?)" } ?? ""); known styles: \
            \(known.joined(separator: ", "))
            """
        }
    }

    /// The beginning of a prompt.
    private static func excerpt(_ prompt: String) -> String {
        let limit = 60
        return prompt.count <= limit ? prompt : prompt.prefix(limit) + "..."
    }
}
