import SwanCheckpoints
package import SwanModels
package import SwanText
import Synchronization
import Torch

/// The encoded prompts of a stream: the newest one, and older ones that chunks on their way to the
/// denoiser still need.
final class StreamPrompts<Conditioning: Sendable>: Sendable {
    private struct Version {
        let number: Int
        let conditioning: Conditioning
        /// Whether a chunk uses this prompt.
        var isMarked = false
    }

    /// The prompts still in use, oldest first, and the newest one.
    private let versions: Mutex<(older: [Version], newest: Version)>

    init(_ conditioning: Conditioning) {
        versions = Mutex(([], Version(number: 0, conditioning: conditioning)))
    }

    /// Changes the prompt for chunks that are completed from now on.
    func change(to conditioning: Conditioning) {
        versions.withLock { versions in
            // A prompt that no chunk uses is not kept.
            if versions.newest.isMarked { versions.older.append(versions.newest) }
            let number = versions.newest.number + 1
            versions.newest = Version(number: number, conditioning: conditioning)
        }
    }

    /// Returns the number of the newest prompt, for use by a chunk.
    func mark() -> Int {
        versions.withLock { versions in
            versions.newest.isMarked = true
            return versions.newest.number
        }
    }

    /// Returns the conditioning for prompt `number`; older prompts are released.
    func conditioning(of number: Int) -> Conditioning {
        versions.withLock { versions in
            versions.older.removeAll { $0.number < number }
            let version = versions.older.first { $0.number == number } ?? versions.newest
            return version.conditioning
        }
    }
}

extension StreamModel {
    /// Encodes a prompt for the transformer, and reports what had to be changed in it.
    package func conditioning(
        _ prompt: String
    ) throws -> (conditioning: TextConditioning, issues: [PromptIssue]) {
        let (embeddings, issues) = try embeddings(of: prompt)
        return (try transformer.text(embeddings), issues)
    }

    /// Encodes a prompt [1, T, textDim], and reports what had to be changed in it.
    func embeddings(of prompt: String) throws -> (embeddings: Tensor, issues: [PromptIssue]) {
        let (tokens, issues) = try tokens(of: prompt)
        return (try textEncoder.encode([tokens]), issues)
    }

    /// Tokenizes a prompt, reduced to the styles that the model knows.
    func tokens(of prompt: String) throws -> (tokens: [Int32], issues: [PromptIssue]) {
        let limit = transformer.config.textLen
        let whole = try tokenizer.encode(prompt, maxTokens: limit)
        guard let styles else { return (whole.tokens, whole.issues) }
        let cut = whole.wasTruncated ? try tokenizer.text(of: whole.tokens) : nil
        if let issue = styles.issue(with: whole.text, heard: cut),
            let neutral = styles.noChange.first
        {
            let tokens = try tokenizer.encode(neutral, maxTokens: limit).tokens
            return (tokens, whole.issues + [issue])
        }
        let heard = cut ?? whole.text
        let wanted = styles.requested(in: heard)
        guard wanted != heard else { return (whole.tokens, whole.issues) }
        return (try tokenizer.encode(cleaned: wanted, maxTokens: limit).tokens, whole.issues)
    }
}
