import Foundation
import SwanSystem

/// Converts the `tokenizer.json` of a unigram model back to a SentencePiece model.
///
/// The file, of the Hugging Face tokenizers library, has the pieces, their scores and the
/// normalization rules. The treatment of whitespace follows from its normalizers and
/// pre-tokenizers.
struct UnigramTokenizerFile {
    private let file: File

    /// Whether bytes look like such a file; a SentencePiece model never starts like a JSON object.
    static func isLikely(_ bytes: [UInt8]) -> Bool {
        bytes.first { !"\n\r\t ".utf8.contains($0) } == UInt8(ascii: "{")
    }

    /// Parses the file; throws `invalidModel` with the first problem.
    init(_ data: Data, name: String) throws(SwanError) {
        do {
            file = try JSONDecoder().decode(File.self, from: data)
        } catch let error as SwanError {
            throw SwanError(.invalidModel, "\(name): \(error.message)", cause: error)
        } catch {
            throw SwanError(
                .invalidModel,
                "\(name) is not the tokenizer.json of a unigram model: "
                    + "\(error)".printable(limit: 1_000),
                cause: error
            )
        }
    }

    /// The serialized model.
    func model() throws(SwanError) -> [UInt8] {
        let vocabulary = file.model.vocab
        guard let unknown = file.model.unk_id, vocabulary.indices.contains(unknown) else {
            throw SwanError(
                .invalidModel,
                "the unk_id of a tokenizer.json is not in its vocabulary of \(vocabulary.count)"
            )
        }
        let marks = Set((file.added_tokens ?? []).filter(\.special).map(\.id))
        let bytes = Dictionary(
            (0..<256).map { (String(format: "<0x%02X>", $0), $0) },
            uniquingKeysWith: { first, _ in first }
        )
        let hasBytes = vocabulary.count { bytes[$0.text] != nil } == 256
        var pieces: [UnigramVocabulary.Piece] = []
        for (id, piece) in vocabulary.enumerated() {
            let kind: UnigramVocabulary.Kind =
                switch id {
                case unknown: .unknown
                case _ where marks.contains(id): .control
                case _ where hasBytes && bytes[piece.text] != nil: .byte
                default: .normal
                }
            pieces.append(UnigramVocabulary.Piece(Array(piece.text.utf8), piece.score, kind))
        }
        // Special tokens that were added after the vocabulary.
        let added = (file.added_tokens ?? []).sorted { $0.id < $1.id }
        for token in added where token.id == pieces.count {
            pieces.append(UnigramVocabulary.Piece(Array(token.content.utf8), 0, .control))
        }
        var result = try normalization()
        result.pieces = pieces
        return result.model(unknown: unknown)
    }

    /// The rules and the treatment of whitespace, without pieces.
    private func normalization() throws(SwanError) -> UnigramVocabulary {
        var removesSpaces = false
        var rules: [UInt8] = []
        for step in file.normalizer?.steps ?? [] {
            switch step.type {
            case "Precompiled":
                guard let text = step.precompiled_charsmap else { continue }
                guard let data = Data(base64Encoded: text) else {
                    throw SwanError(
                        .invalidModel,
                        "the precompiled_charsmap of a tokenizer.json is not Base64"
                    )
                }
                rules = [UInt8](data)
            case "Strip": continue
            case "Replace" where step.pattern?.Regex == " {2,}": removesSpaces = true
            default:
                throw SwanError(
                    .invalidModel,
                    "the normalizer \(step.type.printable()) of a tokenizer.json is not supported by SentencePiece models; "
                        + "use the original spiece.model"
                )
            }
        }
        var addsPrefix = false
        for step in file.pre_tokenizer?.steps ?? [] {
            switch step.type {
            case "WhitespaceSplit": removesSpaces = true
            case "Metaspace":
                addsPrefix =
                    step.prepend_scheme.map { $0 != "never" }
                    ?? (step.add_prefix_space ?? true)
            default:
                throw SwanError(
                    .invalidModel,
                    "the pre-tokenizer \(step.type.printable()) of a tokenizer.json is not supported by SentencePiece "
                        + "models; use the original spiece.model"
                )
            }
        }
        return UnigramVocabulary(
            rules: rules,
            addsPrefix: addsPrefix,
            removesSpaces: removesSpaces
        )
    }

    // MARK: - The file

    private struct File: Decodable {
        let model: Model
        let normalizer: Step?
        let pre_tokenizer: Step?
        let added_tokens: [Token]?
    }

    private struct Model: Decodable {
        let unk_id: Int?
        let vocab: [Piece]

        private enum Key: String, CodingKey { case type, unk_id, vocab }

        init(from decoder: any Decoder) throws {
            let values = try decoder.container(keyedBy: Key.self)
            let type = try values.decodeIfPresent(String.self, forKey: .type)
            guard type == nil || type == "Unigram" else {
                throw SwanError(
                    .invalidModel,
                    "unsupported tokenizer type \(type?.printable() ?? ""); Wan's text encoder uses Unigram"
                )
            }
            unk_id = try values.decodeIfPresent(Int.self, forKey: .unk_id)
            vocab = try values.decode([Piece].self, forKey: .vocab)
        }
    }

    /// A piece and its log probability, in an array of two.
    private struct Piece: Decodable {
        let text: String
        let score: Float

        init(from decoder: any Decoder) throws {
            var pair = try decoder.unkeyedContainer()
            text = try pair.decode(String.self)
            score = try pair.decode(Float.self)
        }
    }

    /// A normalizer or pre-tokenizer, or a sequence of them.
    private struct Step: Decodable {
        struct Pattern: Decodable { let Regex: String? }

        let type: String
        let normalizers, pretokenizers: [Step]?
        let precompiled_charsmap: String?
        let pattern: Pattern?
        let prepend_scheme: String?
        let add_prefix_space: Bool?

        var steps: [Step] {
            type == "Sequence" ? (normalizers ?? pretokenizers ?? []).flatMap(\.steps) : [self]
        }
    }

    private struct Token: Decodable {
        let id: Int
        let content: String
        let special: Bool
    }
}
