import SwanModels
import SwanText
import SwanTraining
import Torch

/// Trains a text encoder alone: every token of a prompt is mapped to the vector of all that the
/// prompt says.
///
/// A transformer then finds the whole claim in any token, as a sum of fixed vectors, and only has
/// to learn what they look like.
struct SceneTextMethod: Method {
    /// The trained role.
    static let trainedRole = "text_encoder"

    /// Tokenized prompts, and what they say; nil for no prompt.
    struct Batch: Sendable {
        let prompts: [[Int32]]
        let claims: [SceneClaim?]
    }

    let config: UMT5Config
    let optimizer: OptimizerOptions
    let prompts: ScenePrompts
    let scenes: SceneSampler
    let tokenizer: Tokenizer
    let maximumTokens: Int
    let vectors: SceneVectors
    let batch: Int

    var roles: [Role] { [.trained(Self.trainedRole, by: optimizer)] }

    func updates(at step: Int) -> [Update<Batch>] { [Update(of: Self.trainedRole, by: loss)] }

    func batch(_ place: BatchPlace) throws -> Batch {
        try batch((0..<batch).map { place.number * batch + $0 }, .training)
    }

    /// The prompts with these numbers, of which one in twenty is empty.
    private func batch(_ numbers: [Int], _ share: SceneSampler.Share) throws -> Batch {
        var texts: [[Int32]] = []
        var claims: [SceneClaim?] = []
        for number in numbers {
            let index = UInt64(number)
            let (claim, text) = prompts.prompt(for: scenes.scene(index, share), index: index)
            let isEmpty = number.isMultiple(of: 20)
            claims.append(isEmpty ? nil : claim)
            texts.append(try tokens(of: isEmpty ? "" : text))
        }
        return Batch(prompts: texts, claims: claims)
    }

    func loss(
        _ batch: Batch,
        _ place: BatchPlace,
        _ networks: Networks,
        carry: inout [String: Tensor]
    ) throws -> Loss {
        let found = try EncodedPrompts(batch.prompts, by: networks[Self.trainedRole], config)
        let target = try vectors(batch.claims).unsqueezed(1).to(found.mask.device) * found.mask
        let error = try found.squaredError(target)
        return Loss(total: error, parts: ["squared_error": error])
    }

    /// The share of `count` held-out prompts of whose tokens the mean says exactly what they say.
    func understood(_ weights: [String: Tensor], count: Int) throws -> Double {
        try withoutGradients {
            let batch = try batch(Array(1...count), .heldOut)
            let found = try EncodedPrompts(batch.prompts, by: weights, config)
            let sums = try (found.embeddings * found.mask).sum([1])
            let means = try (sums / found.mask.sum([1])).to(.cpu)
            let right = try vectors.understood(means, batch.claims).filter { $0 }
            return Double(right.count) / Double(count)
        }
    }

    private func tokens(of prompt: String) throws -> [Int32] {
        try tokenizer.encode(prompt, maxTokens: maximumTokens, allowsEmpty: true).tokens
    }
}
