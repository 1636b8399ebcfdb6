/// What went wrong with a tokenizer or a prompt.
public struct TextError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The kinds of failure, for a caller that decides by them.
    public enum Code: Sendable, Equatable {
        /// The tokenizer's file does not exist.
        case noSuchFile
        /// The tokenizer's file cannot be read or is not a SentencePiece model for UMT5.
        case invalidModel
        /// Nothing is left of a prompt after cleaning.
        case emptyPrompt
        /// An argument is outside of what a function takes.
        case invalidArgument
        /// A token id or a vocabulary is larger than what it is used with.
        case outOfRange
        /// A SentencePiece model could not be trained from the sentences given.
        case trainingFailed
        /// The SentencePiece library failed on input that it should take.
        case libraryFailed
    }

    /// The kind of failure.
    public let code: Code
    /// What was wrong, where, and what would be right.
    public let message: String

    init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    /// The message.
    public var description: String { message }
}
