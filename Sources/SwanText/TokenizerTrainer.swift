import CSentencePiece
import Foundation

/// Trains SentencePiece unigram models with T5's layout: `<pad>` 0, `</s>` 1, `<unk>` 2, then a
/// piece for each byte, so that any text can be tokenized (Kudo, 2018, arXiv:1804.10959).
public enum TokenizerTrainer {
    /// How a model normalizes text before it cuts it into pieces.
    public enum Normalization: String, Sendable {
        /// NFKC with the changes that UMT5 and T5 have too. Adds 240 kB to a model.
        case nmtNFKC = "nmt_nfkc"
        /// The text as it is, but for extra spaces. A cleaned prompt is NFC already.
        case identity
    }

    /// A serialized model with at most `vocabularySize` pieces; fewer where the sentences have no
    /// more to give. The marks and bytes take 259 of them. All sentences are used, by one thread,
    /// so that the same sentences give the same bytes without a seed.
    public static func train(
        sentences: [String],
        vocabularySize: Int,
        normalization: Normalization = .nmtNFKC,
    ) throws(TextError) -> Data {
        guard vocabularySize > marksAndBytes else {
            throw TextError(
                .invalidArgument,
                """
                a vocabulary of \(vocabularySize) pieces; the marks and bytes alone take \
                \(marksAndBytes), so it must be larger
                """
            )
        }
        let text = Array(sentences.joined(separator: "\n").utf8)
        let options = [
            "model_type": "unigram",
            "vocab_size": "\(vocabularySize)",
            // A small text may not have as many pieces as were asked for.
            "hard_vocab_limit": "false",
            "pad_id": "0", "eos_id": "1", "unk_id": "2", "bos_id": "-1",
            "byte_fallback": "true",
            "normalization_rule_name": normalization.rawValue,
            "max_sentence_length": "\(max(text.count, 1))",
            // Sums of probabilities depend on how many threads share them.
            "num_threads": "1",
            "minloglevel": "2",
        ]
        let lines = options.map { "\($0)=\($1)" }.sorted().joined(separator: "\n")
        var message = ErrorMessage()
        var model: UnsafeMutableRawPointer?
        var size = 0
        let isDone = text.withUnsafeBytes { bytes in
            message.write {
                csp_train(
                    bytes.baseAddress?.assumingMemoryBound(to: CChar.self),
                    bytes.count,
                    lines,
                    &model,
                    &size,
                    $0,
                    $1
                )
            }
        }
        guard isDone, let model else {
            throw TextError(
                .trainingFailed,
                "no tokenizer from these \(sentences.count) sentences: \(message)"
            )
        }
        defer { csp_release(model) }
        return Data(bytes: model, count: size)
    }

    /// Pieces that every model has: the marks, and one for each byte.
    public static let marksAndBytes = 3 + 256
}
