/// A piece that is matched literally in a prompt before SentencePiece processes the rest, with the
/// names and defaults of the Hugging Face tokenizers library.
struct AddedToken: Sendable, Equatable, Decodable {
    /// The text that is matched.
    let content: String
    /// Whether it counts only between characters that are not part of words.
    var isSingleWord = false
    /// Whether white space before it belongs to it.
    var stripsLeft = false
    /// Whether white space after it belongs to it.
    var stripsRight = false
    /// Whether it is matched in the normalized text instead of the original.
    var isNormalized: Bool
    /// Whether it is no text, such as `</s>`.
    let isSpecial: Bool

    /// Creates a token with the library's defaults.
    init(_ content: String, isSpecial: Bool) {
        (self.content, self.isSpecial) = (content, isSpecial)
        isNormalized = !isSpecial
    }

    private enum Key: String, CodingKey {
        case content, single_word, lstrip, rstrip, normalized, special
    }

    /// Reads a token, from text alone or from an object with flags.
    init(from decoder: any Decoder) throws {
        if let text = try? decoder.singleValueContainer().decode(String.self) {
            self.init(text, isSpecial: true)
            return
        }
        let values = try decoder.container(keyedBy: Key.self)
        func flag(_ key: Key) throws -> Bool? { try values.decodeIfPresent(Bool.self, forKey: key) }
        self.init(
            try values.decode(String.self, forKey: .content),
            isSpecial: try flag(.special) ?? false
        )
        isSingleWord = try flag(.single_word) ?? false
        stripsLeft = try flag(.lstrip) ?? false
        stripsRight = try flag(.rstrip) ?? false
        isNormalized = try flag(.normalized) ?? !isSpecial
    }

    /// The same token as a special one.
    var asSpecial: AddedToken {
        var token = AddedToken(content, isSpecial: true)
        (token.isSingleWord, token.stripsLeft) = (isSingleWord, stripsLeft)
        (token.stripsRight, token.isNormalized) = (stripsRight, isNormalized)
        return token
    }
}

/// The added tokens of a tokenizer with their ids.
struct AddedTokens: Sendable {
    /// The number of pieces of the model; ids of tokens that are no pieces follow.
    private let pieces: Int32
    private(set) var tokens: [Int32: AddedToken] = [:]
    private var ids: [String: Int32] = [:]
    /// The id after the last one.
    private(set) var end: Int32

    /// Whether an id is that of a token that is no piece.
    func isBeyondPieces(_ id: Int32) -> Bool { pieces <= id && id < end }

    /// The id of a token.
    func id(of text: String) -> Int32? { ids[text] }

    init(pieces: Int32) { (self.pieces, end) = (pieces, pieces) }

    /// Adds a token, or changes the flags of an earlier one with the same text.
    ///
    /// - Parameter piece: The id of its text in the model; nil if it is no piece.
    mutating func add(_ token: AddedToken, piece: Int32?) {
        guard !token.content.isEmpty else { return }
        let id = ids[token.content] ?? piece ?? end
        (tokens[id], ids[token.content]) = (token, id)
        end = max(end, id + 1)
    }
}
