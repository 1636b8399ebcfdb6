import SwanText
import Testing
import Torch

@testable import SwanTraining

@Suite("Text objective")
struct TextObjectiveTests {
    /// A style is added to an encoder that knows others: prompts for these stay where they were, which is
    /// where the transformer looks for them.
    @Test func aNewStyleLeavesTheOthersInTheirPlaces() throws {
        var objective = try Self.objective([.none, .sepia, .night])
        let first = try Initialization.textEncoder(objective.config, seed: 7)
        let taught = try trained(first, by: objective)
        objective = try Self.objective([.none, .sepia, .night, .comic])
        objective.teacher = .init(weights: taught, styles: ["none", "sepia", "night"])

        let old = try batch(of: [0, 1, 2], objective)
        let new = try batch(of: [3], objective)
        #expect(try loss(old, objective, taught) == 0)
        let again = try trained(taught, by: objective)
        let (before, after) = try (
            loss(new, objective, taught), loss(new, objective, again)
        )
        #expect(after < 0.5 * before, "\(before) to \(after)")
        #expect(try loss(old, objective, again) < 0.2 * before)
    }

    @Test func newNamesAndRequestsForNoChangeComeMostOften() throws {
        var objective = try Self.objective([.none, .sepia, .night, .comic])
        func shares() throws -> [Int] {
            let asked = try (0..<50).flatMap { try objective.batch(BatchPlace(step: $0)).styles }
            return objective.styles.indices.map { style in
                100 * asked.count { $0 == style } / asked.count
            }
        }
        #expect(try shares().allSatisfy { (20...30).contains($0) })
        let weights = try Initialization.textEncoder(objective.config, seed: 7)
        objective.teacher = .init(weights: weights, styles: ["none", "sepia", "night"])
        for (share, expected) in zip(try shares(), [30, 15, 15, 40]) {
            #expect(abs(share - expected) <= 5)
        }
        // A model that was taught no request for no change.
        objective.teacher = .init(weights: weights, styles: ["sepia", "night", "comic"])
        #expect(try abs(shares()[0] - 57) <= 5)
    }

    private static func objective(_ styles: [Style]) throws -> TextObjective {
        let recipe = try TinyRecipe.make()
        return TextObjective(
            config: recipe.text.model,
            styles: styles,
            prompts: PromptGenerator(styles: styles, seed: recipe.seed),
            // One for all, as a model that goes on learning keeps its own.
            tokenizer: try TinyRecipe.tokenizer(recipe),
            maximumTokens: recipe.transformer.model.textLen,
            batch: 16,
            seed: recipe.seed
        )
    }

    /// Prompts that were not trained on.
    private func batch(
        of styles: [Int],
        _ objective: TextObjective
    ) throws -> TextObjective.Batch {
        let asked = Array(repeating: styles, count: 24 / styles.count).flatMap { $0 }
        let prompts = try asked.enumerated().map { index, style in
            try objective.tokenizer.encode(
                objective.prompts.prompt(
                    for: objective.styles[style],
                    index: UInt64(1_000_000 + index)
                ),
                maxTokens: objective.maximumTokens,
                allowsEmpty: true
            ).tokens
        }
        return TextObjective.Batch(prompts: prompts, styles: asked)
    }

    private func loss(
        _ batch: TextObjective.Batch,
        _ objective: TextObjective,
        _ weights: [String: Tensor]
    ) throws -> Double {
        var carry: [String: Tensor] = [:]
        return try withoutGradients {
            try objective.loss(batch, BatchPlace(step: 0), weights, carry: &carry).total.item()
        }
    }

    private func trained(
        _ weights: [String: Tensor],
        by objective: TextObjective
    ) throws -> [String: Tensor] {
        var options = try TinyRecipe.make().transformer.optimizer
        options.learningRate = 5e-3
        var state = try TrainingState(weights, on: .cpu)
        for step in 0..<200 {
            let place = BatchPlace(step: step)
            let loss = try objective.loss(
                objective.batch(place),
                place,
                state.weights,
                carry: &state.carry
            )
            _ = try state.optimizer.update(
                state.parameters,
                gradients(of: loss.total, for: state.parameters).map { try #require($0) },
                step: step,
                of: 200,
                options
            )
        }
        return try state.weights.mapValues { try $0.detached().cloned() }
    }
}
