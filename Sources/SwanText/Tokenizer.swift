import CSentencePiece
public import SwanSystem
public import Foundation

/// The tokenizer of UMT5: prompt cleaning, a SentencePiece unigram model, an end token and padding,
/// as in Wan 2.1's `HuggingfaceTokenizer` (`wan/modules/tokenizers.py`).
public final class Tokenizer: Sendable {
    /// The number of pieces and of tokens that were added to them; all token ids are below it.
    public let vocabularySize: Int
    /// The id of the padding token, `<pad>`.
    public let padID: Int32
    /// The id of the end token, `</s>`.
    public let endID: Int32
    /// The id of the unknown token.
    public let unknownID: Int32

    // The library's processor is immutable once loaded, and encoding with it is thread-safe.
    nonisolated(unsafe) private let processor: OpaquePointer
    /// Tokens that are matched literally before SentencePiece processes the rest.
    private let added: AddedTokens
    /// Those that are matched in the text as it is, and those in its normalized form.
    private let marks, normalizedMarks: MarkSplitter
    private let rules: NormalizationRules
    /// Whether text is split at white space, which then is no piece, also before a token.
    private let splitsAtSpaces: Bool
    private let rareText: RareText

    /// How to tokenize characters that are not in the vocabulary.
    public enum RareText: Sendable {
        /// One unknown token per run of such characters, even if the model has byte pieces. This
        /// matches the reference, whose fast tokenizers do not support byte pieces and with which
        /// Wan was trained.
        case unknownMark
        /// The byte pieces of the characters, if the model has them.
        case bytes
    }

    /// Loads a SentencePiece model (`spiece.model`), or a `tokenizer.json` converted from one, and the
    /// tokens that files beside it add: `tokenizer.json`, `tokenizer_config.json`,
    /// `added_tokens.json`, `special_tokens_map.json`.
    public convenience init(
        contentsOf path: String,
        rareText: RareText = .unknownMark,
    ) throws(SwanError) {
        let data: Data
        do {
            data = try SmallFile.data(path, atMost: SmallFile.list)
        } catch {
            switch error.code {
            case .noSuchFile:
                throw SwanError(
                    .noSuchFile,
                    "\(path): no such file; specify a SentencePiece model or a tokenizer.json"
                )
            case .notRegular:
                throw SwanError(
                    .invalidModel,
                    "\(error.message); specify a SentencePiece model file, such as spiece.model"
                )
            default: throw SwanError(.invalidModel, error.message, cause: error)
            }
        }
        try self.init(
            data: data,
            name: path,
            rareText,
            adding: AddedTokenFiles(besides: path)
        )
    }

    /// Loads a serialized SentencePiece model, or the contents of a `tokenizer.json`.
    public convenience init(
        data: Data,
        rareText: RareText = .unknownMark,
    ) throws(SwanError) {
        try self.init(data: data, name: "the data", rareText)
    }

    private convenience init(
        data: Data,
        name: String,
        _ rareText: RareText,
        adding files: AddedTokenFiles = AddedTokenFiles(),
    ) throws(SwanError) {
        var bytes = [UInt8](data)
        var files = files
        if UnigramTokenizerFile.isLikely(bytes) {
            let file = try UnigramTokenizerFile(data, name: name)
            bytes = try file.model()
            files.tokens = file.addedTokens + files.tokens
            files.splitsAtSpaces = file.splitsAtSpaces
        }
        if let fault = ModelCheck.fault(in: bytes) {
            throw SwanError(.invalidModel, "\(name) is not a SentencePiece model: \(fault)")
        }
        var message = ErrorMessage()
        let processor = message.write { csp_load(bytes, bytes.count, $0, $1) }
        guard let processor else {
            throw SwanError(.invalidModel, "\(name) is not a SentencePiece model: \(message)")
        }
        let defined = ModelCheck.userDefinedPieces(in: bytes).map { text in
            var token = AddedToken(text, isSpecial: false)
            token.isNormalized = false
            return token
        }
        try self.init(
            processor: processor,
            name: name,
            rareText,
            rules: NormalizationRules(table: ModelCheck.rules(in: bytes)),
            splitsAtSpaces: files.splitsAtSpaces,
            adding: defined + files.tokens
        )
    }

    private init(
        processor: OpaquePointer,
        name: String,
        _ rareText: RareText,
        rules: NormalizationRules,
        splitsAtSpaces: Bool,
        adding tokens: [AddedToken],
    ) throws(SwanError) {
        self.processor = processor
        self.rareText = rareText
        self.rules = rules
        self.splitsAtSpaces = splitsAtSpaces
        let count = csp_vocabulary_size(processor)
        padID = csp_pad_id(processor)
        endID = csp_end_id(processor)
        unknownID = csp_unknown_id(processor)
        var added = AddedTokens(pieces: count)
        for id in 0..<count {
            let kind = csp_kind(processor, id)
            guard kind == csp_piece_control || kind == csp_piece_unknown,
                let text = Tokenizer.piece(id, of: processor)
            else { continue }
            added.add(AddedToken(String(decoding: text, as: UTF8.self), isSpecial: true), piece: id)
        }
        for token in tokens {
            added.add(token, piece: Tokenizer.id(ofPiece: token.content, in: processor))
        }
        self.added = added
        vocabularySize = Int(added.end)
        marks = MarkSplitter(added.tokens.filter { !$0.value.isNormalized }) {
            Array($0.content.utf8)
        }
        normalizedMarks = MarkSplitter(added.tokens.filter(\.value.isNormalized)) {
            rules.normalized(Array($0.content.utf8)[...])
        }
        let absent = [("<pad>", padID), ("</s>", endID)].filter { $0.1 < 0 }.map(\.0)
        guard absent.isEmpty else {
            throw SwanError(
                .invalidModel,
                "\(name) has no \(absent.joined(separator: " and no ")); UMT5's tokenizer needs both"
            )
        }
    }

    deinit { csp_free(processor) }

    /// Cleans a prompt and encodes it to `maxTokens` ids: its tokens, the end token, padding. A
    /// longer prompt is truncated before the end token.
    ///
    /// Throws for an empty prompt unless `allowsEmpty`, which is for unconditional sampling.
    public func encode(
        _ text: String,
        maxTokens: Int = 512,
        allowsEmpty: Bool = false,
    ) throws(SwanError) -> TokenizedPrompt {
        try encode(cleaned: cleanPrompt(text), maxTokens, allowsEmpty, issues: [])
    }

    /// The same for UTF-8 bytes; invalid ones are replaced.
    public func encode(
        bytes: some Collection<UInt8>,
        maxTokens: Int = 512,
        allowsEmpty: Bool = false,
    ) throws(SwanError) -> TokenizedPrompt {
        let isValid = String(validating: bytes, as: UTF8.self) != nil
        return try encode(
            cleaned: cleanPrompt(bytes: bytes),
            maxTokens,
            allowsEmpty,
            issues: isValid ? [] : [.invalidUTF8]
        )
    }

    /// The same for a prompt that is clean.
    package func encode(
        cleaned text: String,
        maxTokens: Int,
    ) throws(SwanError) -> TokenizedPrompt {
        try encode(cleaned: text, maxTokens, false, issues: [])
    }

    private func encode(
        cleaned text: String,
        _ maxTokens: Int,
        _ allowsEmpty: Bool,
        issues: [PromptIssue],
    ) throws(SwanError) -> TokenizedPrompt {
        guard maxTokens > 0 else {
            throw SwanError(
                .invalidArgument,
                "the maximum number of tokens is \(maxTokens); it must be at least 1"
            )
        }
        guard allowsEmpty || !text.isEmpty else {
            throw SwanError(
                .emptyPrompt,
                "the prompt is empty; describe what the video should look like"
            )
        }
        let tokens = try tokens(of: text)
        let kept = tokens.prefix(maxTokens - 1)
        let padding = Array(repeating: padID, count: maxTokens - 1 - kept.count)
        let isCut = kept.count < tokens.count
        return TokenizedPrompt(
            text: text,
            ids: kept + [endID] + padding,
            count: kept.count + 1,
            issues: issues + (isCut ? [.truncated(tokens: tokens.count + 1, limit: maxTokens)] : [])
        )
    }

    /// The tokens of a text without cleaning, truncation or end token.
    public func tokens(of text: String) throws(SwanError) -> [Int32] {
        let bytes = Array(text.utf8)
        var tokens: [Int32] = []
        for part in marks.parts(of: bytes[...]) {
            switch part {
            case .mark(let id): tokens.append(id)
            case .text(let range) where normalizedMarks.isEmpty:
                tokens += try pieces(of: bytes[range])
            case .text(let range): tokens += try normalizedTokens(of: bytes[range])
            }
        }
        return tokens
    }

    /// The tokens of a text with marks that are matched in its normalized form.
    private func normalizedTokens(of text: ArraySlice<UInt8>) throws(SwanError) -> [Int32] {
        let space = UInt8(ascii: " ")
        let normal = Self.joinedSpaces(rules.normalized(text))
        var tokens: [Int32] = []
        for part in normalizedMarks.parts(of: normal[...]) {
            switch part {
            case .mark(let id): tokens.append(id)
            case .text(let range):
                let text = String(decoding: normal[range], as: UTF8.self)
                let plain = Array(text.replacing(Self.spaces, with: " ").utf8)
                tokens += try pieces(of: plain[...])
                // SentencePiece drops spaces at the end; here a mark follows.
                if !splitsAtSpaces, plain.last == space, let piece = id(ofPiece: Self.spaces) {
                    tokens.append(piece)
                }
            }
        }
        return tokens
    }

    /// SentencePiece's sign for a space.
    private static let spaces = "\u{2581}"

    /// A text without spaces at its end, and with its runs of spaces as the sign for one: marks
    /// do not strip those.
    private static func joinedSpaces(_ bytes: [UInt8]) -> [UInt8] {
        let space = UInt8(ascii: " ")
        var (result, run) = ([UInt8](), 0)
        for byte in bytes {
            if byte == space {
                run += 1
                continue
            }
            if run > 0 { result += run == 1 ? [space] : Array(spaces.utf8) }
            run = 0
            result.append(byte)
        }
        return result
    }

    /// Decodes token ids.
    public func text(of ids: [Int32]) throws(SwanError) -> String {
        guard let place = ids.firstIndex(where: { added.isBeyondPieces($0) }) else {
            return try textOfPieces(ids)
        }
        let words = [
            try textOfPieces(Array(ids[..<place])), added.tokens[ids[place]]?.content ?? "",
            try self.text(of: Array(ids[(place + 1)...])),
        ]
        return words.map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
            .joined(separator: " ")
    }

    private func textOfPieces(_ ids: [Int32]) throws(SwanError) -> String {
        var message = ErrorMessage()
        var text: UnsafeMutablePointer<CChar>?
        var length = 0
        let isDone = message.write {
            csp_decode(processor, ids, ids.count, &text, &length, $0, $1)
        }
        guard isDone, let text else {
            throw SwanError(.outOfRange, "the token ids cannot be decoded: \(message)")
        }
        defer { csp_release(text) }
        return String(decoding: UnsafeRawBufferPointer(start: text, count: length), as: UTF8.self)
    }

    /// The piece with an id, with U+2581 for a space; nil if the id is not in the vocabulary.
    public func piece(_ id: Int32) -> String? {
        added.isBeyondPieces(id)
            ? added.tokens[id]?.content
            : Tokenizer.piece(id, of: processor).map { String(decoding: $0, as: UTF8.self) }
    }

    /// The id of a piece; nil if it is not in the vocabulary.
    public func id(ofPiece piece: String) -> Int32? {
        added.id(of: piece) ?? Tokenizer.id(ofPiece: piece, in: processor)
    }

    private static func id(ofPiece piece: String, in processor: OpaquePointer) -> Int32? {
        let bytes = Array(piece.utf8)
        let id = bytes.withUnsafeBytes {
            csp_id(processor, $0.baseAddress?.assumingMemoryBound(to: CChar.self), $0.count)
        }
        return Tokenizer.piece(id, of: processor) == bytes ? id : nil
    }

    /// Throws if an embedding with `rows` rows is too small for the vocabulary. It may be larger:
    /// UMT5's has 256,384 rows for 256,300 pieces.
    public func requireVocabulary(within rows: Int) throws(SwanError) {
        guard vocabularySize <= rows else {
            throw SwanError(
                .outOfRange,
                """
                the tokenizer has \(vocabularySize) pieces, but the text encoder's embedding has \
                \(rows) rows; they are not of the same model
                """
            )
        }
    }

    private func pieces(of text: ArraySlice<UInt8>) throws(SwanError) -> [Int32] {
        guard !text.isEmpty else { return [] }
        var message = ErrorMessage()
        var ids: UnsafeMutablePointer<Int32>?
        var count = 0
        let isDone = text.withUnsafeBytes { bytes in
            message.write {
                csp_encode(
                    processor,
                    bytes.baseAddress?.assumingMemoryBound(to: CChar.self),
                    bytes.count,
                    &ids,
                    &count,
                    $0,
                    $1
                )
            }
        }
        guard isDone, let ids else {
            throw SwanError(.libraryFailed, "the prompt cannot be tokenized: \(message)")
        }
        defer { csp_release(ids) }
        let found = UnsafeBufferPointer(start: ids, count: count)
        return rareText == .bytes ? Array(found) : markingBytes(found)
    }

    /// Replaces each run of byte pieces by the unknown token.
    private func markingBytes(_ ids: UnsafeBufferPointer<Int32>) -> [Int32] {
        var result: [Int32] = []
        result.reserveCapacity(ids.count)
        var isInBytes = false
        for id in ids {
            let isByte = csp_kind(processor, id) == csp_piece_byte
            if !isByte { result.append(id) } else if !isInBytes { result.append(unknownID) }
            isInBytes = isByte
        }
        return result
    }

    private static func piece(_ id: Int32, of processor: OpaquePointer) -> [UInt8]? {
        var length = 0
        guard let bytes = csp_piece(processor, id, &length) else { return nil }
        return Array(UnsafeRawBufferPointer(start: bytes, count: length))
    }
}
