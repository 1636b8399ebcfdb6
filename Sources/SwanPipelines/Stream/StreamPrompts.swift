import SwanCheckpoints
package import SwanModels
package import SwanText
import Synchronization
import Torch

/// The prompts of a stream as its transformer attends to them: the newest one, and those that chunks on
/// their way to the denoiser are for.
final class StreamPrompts: Sendable {
    private struct Version {
        let number: Int
        let conditioning: TextConditioning
        /// Whether a chunk is for it.
        var isMarked = false
    }

    /// The oldest first, the newest last.
    private let versions: Mutex<(older: [Version], newest: Version)>

    init(_ conditioning: TextConditioning) {
        versions = Mutex(([], Version(number: 0, conditioning: conditioning)))
    }

    /// Changes the prompt for the chunks that are complete from now on.
    func change(to conditioning: TextConditioning) {
        versions.withLock { versions in
            // One that no chunk is for takes no place.
            if versions.newest.isMarked { versions.older.append(versions.newest) }
            let number = versions.newest.number + 1
            versions.newest = Version(number: number, conditioning: conditioning)
        }
    }

    /// The number of the newest prompt, for a chunk.
    func mark() -> Int {
        versions.withLock { versions in
            versions.newest.isMarked = true
            return versions.newest.number
        }
    }

    /// What a chunk attends to that is for prompt `number`; older ones are let go.
    func conditioning(of number: Int) -> TextConditioning {
        versions.withLock { versions in
            versions.older.removeAll { $0.number < number }
            let version = versions.older.first { $0.number == number } ?? versions.newest
            return version.conditioning
        }
    }
}

extension StreamModel {
    /// A prompt as the transformer attends to it, and what had to be changed in it.
    package func conditioning(
        _ prompt: String
    ) throws -> (conditioning: TextConditioning, issues: [PromptIssue]) {
        let (tokens, issues) = try tokens(of: prompt)
        let embeddings = try textEncoder.encode([tokens])
        return (try transformer.text(embeddings), issues)
    }

    /// The tokens of a prompt, of which those looks are left that the model knows.
    private func tokens(of prompt: String) throws -> (tokens: [Int32], issues: [PromptIssue]) {
        let limit = transformer.config.textLen
        let whole = try tokenizer.encode(prompt, maxTokens: limit)
        guard let looks else { return (whole.tokens, whole.issues) }
        let cut = whole.wasTruncated ? try tokenizer.text(of: whole.tokens) : nil
        if let issue = looks.issue(with: whole.text, heard: cut), let neutral = looks.noChange.first
        {
            let tokens = try tokenizer.encode(neutral, maxTokens: limit).tokens
            return (tokens, whole.issues + [issue])
        }
        let heard = cut ?? whole.text
        let wanted = looks.wanted(in: heard)
        guard wanted != heard else { return (whole.tokens, whole.issues) }
        return (try tokenizer.encode(cleaned: wanted, maxTokens: limit).tokens, whole.issues)
    }
}
