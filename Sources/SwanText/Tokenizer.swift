import CSentencePiece
import SwanSystem
import Foundation

/// The tokenizer of UMT5: a SentencePiece unigram model, prompt cleaning, an end mark and padding,
/// as `HuggingfaceTokenizer` of Wan 2.1 (`wan/modules/tokenizers.py`) has them.
public final class Tokenizer: Sendable {
    /// The number of pieces; every token id is below it.
    public let vocabularySize: Int
    /// The id that fills a prompt up.
    public let padID: Int32
    /// The id of the mark at the end of a prompt, `</s>`.
    public let endID: Int32
    /// The id that stands for what the vocabulary lacks.
    public let unknownID: Int32

    // The library's processor is immutable once loaded, and encoding with it is thread-safe.
    nonisolated(unsafe) private let processor: OpaquePointer
    private let marks: [Mark]
    private let rareText: RareText

    /// What becomes of characters that no piece of the vocabulary holds.
    public enum RareText: Sendable {
        /// One unknown mark for each run of them, even where the model has pieces for bytes. So
        /// does the reference, whose fast tokenizers know no bytes; Wan was trained with them.
        case unknownMark
        /// The pieces for their bytes, where the model has such.
        case bytes
    }

    /// A piece that is matched in a prompt as it stands, before SentencePiece sees the rest.
    private struct Mark: Sendable {
        let text: [UInt8]
        let id: Int32
    }

    /// Loads a SentencePiece model (`spiece.model`), or a `tokenizer.json` that was made of one.
    public convenience init(
        contentsOf path: String,
        rareText: RareText = .unknownMark,
    ) throws(TextError) {
        let data: Data
        do {
            data = try SmallFile.data(path, atMost: SmallFile.list)
        } catch {
            switch error.code {
            case .noSuchFile:
                throw TextError(
                    .noSuchFile,
                    "\(path): no such file; it should be a SentencePiece model or a tokenizer.json"
                )
            case .notRegular:
                throw TextError(
                    .invalidModel,
                    "\(error.message); the SentencePiece model is a file, such as spiece.model"
                )
            default: throw TextError(.invalidModel, error.message)
            }
        }
        try self.init(data: data, name: path, rareText)
    }

    /// Loads a SentencePiece model from its serialized form, or the contents of a `tokenizer.json`.
    public convenience init(
        data: Data,
        rareText: RareText = .unknownMark,
    ) throws(TextError) {
        try self.init(data: data, name: "the data", rareText)
    }

    private convenience init(
        data: Data,
        name: String,
        _ rareText: RareText,
    ) throws(TextError) {
        var bytes = [UInt8](data)
        if UnigramTokenizerFile.isLikely(bytes) {
            bytes = try UnigramTokenizerFile(data, name: name).model()
        }
        if let fault = ModelCheck.fault(in: bytes) {
            throw TextError(.invalidModel, "\(name) is not a SentencePiece model: \(fault)")
        }
        var message = ErrorMessage()
        let processor = message.write { csp_load(bytes, bytes.count, $0, $1) }
        guard let processor else {
            throw TextError(.invalidModel, "\(name) is not a SentencePiece model: \(message)")
        }
        try self.init(processor: processor, name: name, rareText)
    }

    private init(
        processor: OpaquePointer,
        name: String,
        _ rareText: RareText,
    ) throws(TextError) {
        self.processor = processor
        self.rareText = rareText
        vocabularySize = Int(csp_vocabulary_size(processor))
        padID = csp_pad_id(processor)
        endID = csp_end_id(processor)
        unknownID = csp_unknown_id(processor)
        marks = (0..<Int32(vocabularySize)).compactMap { id in
            let kind = csp_kind(processor, id)
            guard kind == csp_piece_control || kind == csp_piece_unknown else { return nil }
            return Tokenizer.piece(id, of: processor).map { Mark(text: $0, id: id) }
        }
        let absent = [("<pad>", padID), ("</s>", endID)].filter { $0.1 < 0 }.map(\.0)
        guard absent.isEmpty else {
            throw TextError(
                .invalidModel,
                "\(name) has no \(absent.joined(separator: " and no ")); UMT5's tokenizer has both"
            )
        }
    }

    deinit { csp_free(processor) }

    /// Cleans a prompt and turns it into `maxTokens` ids: its tokens, the end mark, padding.
    /// A longer prompt is cut before the end mark.
    ///
    /// An empty prompt is an error unless `allowsEmpty`, for the prompt of unguided sampling.
    public func encode(
        _ text: String,
        maxTokens: Int = 512,
        allowsEmpty: Bool = false,
    ) throws(TextError) -> TokenizedPrompt {
        try encode(cleaned: cleanPrompt(text), maxTokens, allowsEmpty, issues: [])
    }

    /// The same for bytes that should be UTF-8; where they are not, they are repaired.
    public func encode(
        bytes: some Collection<UInt8>,
        maxTokens: Int = 512,
        allowsEmpty: Bool = false,
    ) throws(TextError) -> TokenizedPrompt {
        let isValid = String(validating: bytes, as: UTF8.self) != nil
        return try encode(
            cleaned: cleanPrompt(bytes: bytes),
            maxTokens,
            allowsEmpty,
            issues: isValid ? [] : [.invalidUTF8]
        )
    }

    private func encode(
        cleaned text: String,
        _ maxTokens: Int,
        _ allowsEmpty: Bool,
        issues: [PromptIssue],
    ) throws(TextError) -> TokenizedPrompt {
        guard maxTokens > 0 else {
            throw TextError(
                .invalidArgument,
                "a prompt of at most \(maxTokens) tokens; at least 1 is needed"
            )
        }
        guard allowsEmpty || !text.isEmpty else {
            throw TextError(
                .emptyPrompt,
                "the prompt is empty; say what the video should look like"
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

    /// The tokens of a text as it is: not cleaned, not cut, without an end mark.
    public func tokens(of text: String) throws(TextError) -> [Int32] {
        let bytes = Array(text.utf8)
        var tokens: [Int32] = []
        var start = 0
        var index = 0
        while index < bytes.count {
            guard let mark = mark(in: bytes, at: index) else {
                index += 1
                continue
            }
            tokens += try pieces(of: bytes[start..<index]) + [mark.id]
            index += mark.text.count
            start = index
        }
        return try tokens + pieces(of: bytes[start...])
    }

    /// The text that token ids stand for.
    public func text(of ids: [Int32]) throws(TextError) -> String {
        var message = ErrorMessage()
        var text: UnsafeMutablePointer<CChar>?
        var length = 0
        let isDone = message.write {
            csp_decode(processor, ids, ids.count, &text, &length, $0, $1)
        }
        guard isDone, let text else {
            throw TextError(.outOfRange, "these ids cannot be decoded: \(message)")
        }
        defer { csp_release(text) }
        return String(decoding: UnsafeRawBufferPointer(start: text, count: length), as: UTF8.self)
    }

    /// The piece with an id, with U+2581 for a space; nil for an id outside of the vocabulary.
    public func piece(_ id: Int32) -> String? {
        Tokenizer.piece(id, of: processor).map { String(decoding: $0, as: UTF8.self) }
    }

    /// The id of a piece; nil when the vocabulary lacks it.
    public func id(ofPiece piece: String) -> Int32? {
        let bytes = Array(piece.utf8)
        let id = bytes.withUnsafeBytes {
            csp_id(processor, $0.baseAddress?.assumingMemoryBound(to: CChar.self), $0.count)
        }
        return Tokenizer.piece(id, of: processor) == bytes ? id : nil
    }

    /// Throws when an embedding of `rows` rows is too small for the vocabulary. A larger one is
    /// usual: UMT5's has 256,384 rows for 256,300 pieces.
    public func requireVocabulary(within rows: Int) throws(TextError) {
        guard vocabularySize <= rows else {
            throw TextError(
                .outOfRange,
                """
                the tokenizer has \(vocabularySize) pieces, but the text encoder's embedding has \
                \(rows) rows; they are not of the same model
                """
            )
        }
    }

    private func mark(in bytes: [UInt8], at index: Int) -> Mark? {
        // All marks are written in angle brackets, which few places of a prompt hold.
        marks.filter { bytes[index] == $0.text.first && bytes[index...].starts(with: $0.text) }
            .max { $0.text.count < $1.text.count }
    }

    private func pieces(of text: ArraySlice<UInt8>) throws(TextError) -> [Int32] {
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
            throw TextError(.libraryFailed, "the prompt cannot be tokenized: \(message)")
        }
        defer { csp_release(ids) }
        let found = UnsafeBufferPointer(start: ids, count: count)
        return rareText == .bytes ? Array(found) : markingBytes(found)
    }

    /// The unknown mark for each run of bytes.
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
