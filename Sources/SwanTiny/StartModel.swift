import Foundation
import SwanCheckpoints
import SwanModels
import SwanSystem
import SwanTraining
import Torch
import TorchNN

/// A trained model that a recipe continues from, so that adding a style takes minutes instead of
/// hours.
///
/// Its autoencoder and tokenizer are used unchanged; training starts from its text encoder and
/// transformer. It has the layout of a model written by `swan train`.
struct StartModel {
    /// The names of the styles that it was trained on.
    let styles: Set<String>
    private let folder: ModelFolder
    /// The autoencoder's config, with the measured statistics of its latents.
    private let vae: WanVAEConfig

    /// Opens a bundled model or a folder; throws if its dimensions differ from the recipe's.
    init(_ nameOrPath: String, for recipe: Recipe) throws {
        let path = ModelLocation.path(nameOrPath)
        guard FileManager.default.fileExists(atPath: path) else {
            let known = BundledModels.names.joined(separator: ", ")
            throw SwanError(
                .noSuchFile,
                "start: \(nameOrPath) is neither a bundled model (\(known)) nor a model folder"
            )
        }
        folder = try ModelFolder(path)
        try folder.require(ModelFolder.Part.ofEveryModel)
        styles = Set(try Recipe(contentsOf: path + "/recipe.yaml").styles.map(\.name))
        let configs = try folder.configs()
        vae = configs.vae
        var sizes = vae
        sizes.latentsMean = recipe.vae.model.latentsMean
        sizes.latentsStd = recipe.vae.model.latentsStd
        try require(sizes == recipe.vae.model, "vae.model")
        try require(configs.transformer == recipe.transformer.model, "transformer.model")
        try require(configs.textEncoder == recipe.text.model, "text.model")
    }

    /// Returns the autoencoder's weights, and its config with the measured statistics of its
    /// latents.
    func autoencoder() throws -> ([String: Tensor], WanVAEConfig) { (try weights(.vae), vae) }

    /// Returns the text encoder's weights.
    func textEncoder() throws -> [String: Tensor] { try weights(.textEncoder) }

    /// Returns the transformer's weights.
    func transformer() throws -> [String: Tensor] { try weights(.transformer) }

    /// Returns the contents of the tokenizer file.
    func tokenizer() throws -> Data {
        try SmallFile.data(folder.require(.tokenizer).data, atMost: SmallFile.list)
    }

    private func weights(_ part: ModelFolder.Part) throws -> [String: Tensor] {
        let source = try folder.weights(of: folder.require(part))
        var weights: [String: Tensor] = [:]
        for key in source.keys {
            guard let shape = try source.shape(key) else { continue }
            weights[key] = try source.tensor(key, shape).to(.float32).cloned()
        }
        return weights
    }

    private func require(_ isSame: Bool, _ section: String) throws {
        guard !isSame else { return }
        throw SwanError(
            .invalidRecipe,
            "\(section): must be the same as in the model that 'start' names, \(folder.path)"
        )
    }
}
