import SwanText
import Testing
import Torch

@testable import SwanTiny
@testable import SwanTraining
import SwanModels

@Suite("Text encoder method")
struct TextEncoderMethodTests {
    /// Adding a style to a trained encoder keeps the embeddings of prompts for its other styles,
    /// because the transformer relies on them.
    @Test func newStylesKeepTheOthersInPlace() throws {
        var method = try Self.method([.none, .sepia, .night])
        let first = try Initialization.textEncoder(method.config, seed: 7)
        let taught = try trained(first, by: method)
        method = try Self.method([.none, .sepia, .night, .comic])
        method.teacher = .init(weights: taught, styles: ["none", "sepia", "night"])

        let old = try batch(of: [0, 1, 2], method)
        let new = try batch(of: [3], method)
        #expect(try loss(old, method, taught) == 0)
        let again = try trained(taught, by: method)
        let (before, after) = try (
            loss(new, method, taught), loss(new, method, again)
        )
        #expect(after < 0.5 * before, "\(before) to \(after)")
        #expect(try loss(old, method, again) < 0.2 * before)
    }

    @Test func samplesNewStylesAndNoChangeMostOften() throws {
        var method = try Self.method([.none, .sepia, .night, .comic])
        func shares() throws -> [Int] {
            let asked = try (0..<50).flatMap { try method.batch(BatchPlace(step: $0)).styles }
            return method.styles.indices.map { style in
                100 * asked.count { $0 == style } / asked.count
            }
        }
        #expect(try shares().allSatisfy { (20...30).contains($0) })
        let weights = try Initialization.textEncoder(method.config, seed: 7)
        method.teacher = .init(weights: weights, styles: ["none", "sepia", "night"])
        for (share, expected) in zip(try shares(), [30, 15, 15, 40]) {
            #expect(abs(share - expected) <= 5)
        }
        // A model that was not taught requests for no change.
        method.teacher = .init(weights: weights, styles: ["sepia", "night", "comic"])
        #expect(try abs(shares()[0] - 57) <= 5)
    }

    private static func method(_ styles: [Style]) throws -> TextEncoderMethod {
        let recipe = try TinyRecipe.make()
        return TextEncoderMethod(
            config: recipe.text.model,
            optimizer: recipe.transformer.optimizer,
            styles: styles,
            prompts: PromptGenerator(styles: styles, seed: recipe.seed),
            // One tokenizer for all styles, because a model keeps its tokenizer when it learns
            // more.
            tokenizer: try TinyRecipe.tokenizer(recipe),
            maximumTokens: recipe.transformer.model.textLen,
            batch: 16,
            seed: recipe.seed
        )
    }

    /// Prompts that are not used in training.
    private func batch(
        of styles: [Int],
        _ method: TextEncoderMethod
    ) throws -> TextEncoderMethod.Batch {
        let asked = Array(repeating: styles, count: 24 / styles.count).flatMap { $0 }
        let prompts = try asked.enumerated().map { index, style in
            try method.tokenizer.encode(
                method.prompts.prompt(
                    for: method.styles[style],
                    index: UInt64(1_000_000 + index)
                ),
                maxTokens: method.maximumTokens,
                allowsEmpty: true
            ).tokens
        }
        return TextEncoderMethod.Batch(prompts: prompts, styles: asked)
    }

    private func loss(
        _ batch: TextEncoderMethod.Batch,
        _ method: TextEncoderMethod,
        _ weights: [String: Tensor]
    ) throws -> Double {
        var carry: [String: Tensor] = [:]
        let networks = Networks([TextEncoderMethod.trainedRole: weights])
        return try withoutGradients {
            try method.loss(batch, BatchPlace(step: 0), networks, carry: &carry).total.item()
        }
    }

    private func trained(
        _ weights: [String: Tensor],
        by method: TextEncoderMethod
    ) throws -> [String: Tensor] {
        var options = method.optimizer
        options.learningRate = 5e-3
        var network = try TrainedNetwork(weights)
        var carry: [String: Tensor] = [:]
        for step in 0..<200 {
            let place = BatchPlace(step: step)
            let loss = try method.loss(
                method.batch(place),
                place,
                Networks([TextEncoderMethod.trainedRole: network.weights]),
                carry: &carry
            )
            try network.applyUpdate(loss, step: step, of: 200, options)
        }
        return try network.weights.mapValues { try $0.detached().cloned() }
    }
}
