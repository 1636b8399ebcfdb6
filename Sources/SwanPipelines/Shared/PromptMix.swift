import SwanModels
import SwanSystem
import SwanText
import Torch

/// The text that a stream's chunks attend to: a mix of prompts, possibly on its way to another.
///
/// Prompts are mixed, and turn into one another, as embeddings. Padding has the embedding zero, so
/// embeddings of different lengths are padded with zeros.
struct PromptMix: Sendable {
    /// The embeddings [1, T, C] of the current text.
    private(set) var current: Tensor
    private var target: Tensor
    private var chunksLeft = 0
    private var conditioning: TextConditioning?

    init(_ embeddings: Tensor) {
        current = embeddings
        target = embeddings
    }

    /// Turns to other embeddings over a number of chunks; with 0, the next chunk has them.
    mutating func turn(to embeddings: Tensor, over chunks: Int) {
        target = embeddings
        chunksLeft = max(1, chunks)
    }

    /// Returns the text of the next chunk, and whether it differs from that of the last one.
    mutating func next(
        _ transformer: CausalWanTransformer
    ) throws(SwanError) -> (text: TextConditioning, isNew: Bool) {
        if chunksLeft == 0, let conditioning { return (conditioning, false) }
        if chunksLeft > 0 {
            current =
                chunksLeft == 1
                ? target
                : try Self.mixed([
                    (current, 1 - 1 / Double(chunksLeft)), (target, 1 / Double(chunksLeft)),
                ])
            chunksLeft -= 1
        }
        let text = try transformer.text(current)
        conditioning = text
        return (text, true)
    }

    /// The weighted sum of embeddings [1, T, C], padded to the longest.
    static func mixed(_ parts: [(embeddings: Tensor, weight: Double)]) throws(SwanError) -> Tensor {
        let length = parts.map { $0.embeddings.size(1) }.max() ?? 0
        var sum: Tensor?
        for (embeddings, weight) in parts {
            let missing = length - embeddings.size(1)
            let padded = missing > 0 ? try embeddings.padded([0, 0, 0, missing]) : embeddings
            let part = try padded * weight
            sum = try sum.map { mixed throws(SwanError) in try mixed + part } ?? part
        }
        guard let sum else { throw SwanError(.emptyPrompt, "no prompt to mix") }
        return sum
    }
}

extension StreamModel {
    /// Encodes prompts and mixes them by their weights; reports what had to be changed in them.
    ///
    /// - Returns: Embeddings [1, T, textDim].
    func embeddings(
        of prompts: [StreamChange.WeightedPrompt]
    ) throws -> (embeddings: Tensor, issues: [PromptIssue]) {
        let total = prompts.reduce(0) { $0 + $1.weight }
        var parts: [(Tensor, Double)] = []
        var issues: [PromptIssue] = []
        for prompt in prompts where prompt.weight > 0 {
            let (tokens, found) = try tokens(of: prompt.text)
            parts.append((try textEncoder.encode([tokens]), prompt.weight / total))
            issues += found
        }
        let only = parts.count == 1 ? parts.first?.0 : nil
        return (try only ?? PromptMix.mixed(parts), issues)
    }
}
