import CSentencePiece
package import Foundation
package import SwanSystem

/// Trains SentencePiece unigram models (Kudo, 2018, arXiv:1804.10959) with T5's layout: `<pad>` 0,
/// `</s>` 1, `<unk>` 2, then a piece for each byte, so that any text can be tokenized.
package enum TokenizerTrainer {
    /// How a model normalizes text before splitting it into pieces.
    package enum Normalization: String, Sendable {
        /// NFKC with the modifications of T5 and UMT5. Adds 240 kB to a model.
        case nmtNFKC = "nmt_nfkc"
        /// No normalization, except for extra spaces. A cleaned prompt is already NFC.
        case identity
    }

    /// Trains a serialized model with at most `vocabularySize` pieces, of which special tokens and
    /// bytes take 259. Uses all sentences on one thread, so that the same sentences give the same
    /// bytes without a seed.
    package static func train(
        sentences: [String],
        vocabularySize: Int,
        normalization: Normalization = .nmtNFKC,
    ) throws(SwanError) -> Data {
        guard vocabularySize > marksAndBytes else {
            throw SwanError(
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
            // A small text may not have enough pieces.
            "hard_vocab_limit": "false",
            "pad_id": "0", "eos_id": "1", "unk_id": "2", "bos_id": "-1",
            "byte_fallback": "true",
            "normalization_rule_name": normalization.rawValue,
            "max_sentence_length": "\(max(text.count, 1))",
            // Sums of probabilities depend on the number of threads.
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
            throw SwanError(
                .trainingFailed,
                "cannot train a tokenizer from these \(sentences.count) sentences: \(message)"
            )
        }
        defer { csp_release(model) }
        return Data(bytes: model, count: size)
    }

    /// The pieces of every model: special tokens, and one per byte.
    package static let marksAndBytes = 3 + 256
}
