import Foundation
import SwanModels
import ModelSupport
import SwanText
import Torch

@testable import SwanTiny
@testable import SwanTraining

/// A recipe with drawn scenes and very small networks that trains in seconds.
enum TinyRecipe {
    static let text = TinyTraining.recipe

    static func make() throws -> Recipe { try Recipe(yaml: text) }

    /// The autoencoder's initial weights, which take seconds to compute.
    static let linearCode = Result {
        let recipe = try make()
        let clips = try ClipMix(recipe.data, seed: recipe.seed)
        ComputeBudget(threads: recipe.threads).apply()
        return try LinearCode.weights(recipe.vae.model, clips: clips, seed: recipe.seed)
    }

    static func initialTransformer(_ recipe: Recipe) throws -> [String: Tensor] {
        let transformer = try Initialization.transformer(
            recipe.transformer.model,
            seed: recipe.seed
        )
        let encoder = try Initialization.textEncoder(recipe.text.model, seed: recipe.seed)
        return Dictionary(
            uniqueKeysWithValues: transformer.map { ("transformer." + $0, $1) }
                + encoder.map { ("text_encoder." + $0, $1) }
        )
    }

    /// A tokenizer trained on prompts for the recipe's styles.
    static func tokenizer(_ recipe: Recipe) throws -> Tokenizer {
        let prompts = PromptGenerator(styles: recipe.styles, seed: recipe.seed)
        return try Tokenizer(
            data: TokenizerTrainer.train(
                sentences: prompts.corpus(count: recipe.text.sentences),
                vocabularySize: recipe.text.model.vocabulary
            )
        )
    }

    static func streamMethod(
        _ recipe: Recipe,
        clips: any ClipSource,
        vae: [String: Tensor]
    ) throws -> StreamMethod {
        let prompts = PromptGenerator(styles: recipe.styles, seed: recipe.seed)
        let codec = try LatentCodec(vae, recipe.vae.model)
        let stage = recipe.transformer
        return StreamMethod(
            transformer: stage.model,
            textEncoder: recipe.text.model,
            options: stage.training,
            optimizer: stage.optimizer,
            phases: stage.phases,
            styles: recipe.styles,
            prompts: prompts,
            tokenizer: try tokenizer(recipe),
            channelWeights: try .ones([recipe.vae.model.zDim]),
            seed: recipe.seed,
            pools: stage.phases.indices.map { index in
                LatentPool(
                    ClipEncoder(
                        clips: clips,
                        styles: recipe.styles,
                        codec: codec,
                        options: stage.training,
                        size: stage.phases[index].size,
                        firstIndex: UInt64(index + 2) << 40,
                        seed: recipe.seed
                    ),
                    phase: stage.phases[index]
                )
            }
        )
    }
}
