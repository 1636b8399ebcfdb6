import SwanSystem
import SwanText
import Torch
import TorchNN

/// The tokenizer in the metadata of a text encoder's GGUF file, as llama.cpp's converter writes it.
struct GGUFVocabulary {
    private let vocabulary: UnigramVocabulary
    private let unknown: Int

    private static let prefix = "tokenizer.ggml."

    /// Whether a checkpoint is a GGUF file with the vocabulary of a T5 encoder.
    static func isPresent(in checkpoint: Checkpoint) -> Bool {
        checkpoint.gguf?.text(prefix + "model") == "t5"
    }

    /// Reads the vocabulary; throws `invalidWeights`, with the key, if it is not complete.
    init(_ checkpoint: Checkpoint) throws(SwanError) {
        func failed(_ key: String, _ what: String) -> SwanError {
            SwanError(.invalidWeights, "\(checkpoint.path): \(Self.prefix)\(key) \(what)")
        }
        guard let file = checkpoint.gguf, let texts = file.texts(Self.prefix + "tokens") else {
            throw failed("tokens", "is not a list of texts")
        }
        guard let scores = file.numbers(Self.prefix + "scores"), scores.count == texts.count else {
            throw failed("scores", "does not have a number for each of the \(texts.count) tokens")
        }
        guard let kinds = file.numbers(Self.prefix + "token_type"), kinds.count == texts.count
        else {
            throw failed(
                "token_type",
                "does not have a number for each of the \(texts.count) tokens"
            )
        }
        var pieces: [UnigramVocabulary.Piece] = []
        for (index, text) in texts.enumerated() {
            guard let number = Int(exactly: kinds[index]),
                let kind = UnigramVocabulary.Kind(rawValue: number)
            else { throw failed("token_type", "has the unknown kind \(kinds[index])") }
            pieces.append(UnigramVocabulary.Piece(text, Float(scores[index]), kind))
        }
        unknown =
            file.integer(Self.prefix + "unknown_token_id")
            ?? pieces.firstIndex { $0.kind == .unknown } ?? 0
        let rules = file.numbers(Self.prefix + "precompiled_charsmap") ?? []
        guard rules.allSatisfy({ UInt8(exactly: $0) != nil || Int8(exactly: $0) != nil }) else {
            throw failed("precompiled_charsmap", "is not a list of bytes")
        }
        vocabulary = UnigramVocabulary(
            pieces: pieces,
            rules: rules.map { UInt8(truncatingIfNeeded: Int($0)) },
            addsPrefix: file.integer(Self.prefix + "add_space_prefix") != 0,
            removesSpaces: file.integer(Self.prefix + "remove_extra_whitespaces") != 0
        )
    }

    /// The serialized SentencePiece model.
    func model() -> [UInt8] { vocabulary.model(unknown: unknown) }
}
