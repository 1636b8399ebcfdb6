import Foundation
import SwanCheckpoints
import SwanModels
import SwanSystem
import SwanTraining
import Torch
import TorchNN

/// A trained model that a recipe continues from, so that one more style takes minutes instead of hours.
///
/// Its autoencoder and its tokenizer are used as they are; training starts from its text encoder and transformer. It is
/// laid out as `swan train` leaves a model.
struct StartModel {
    /// The names of the styles that it was taught.
    let styles: Set<String>
    private let folder: ModelFolder
    /// Of its autoencoder, with the measured statistics of its latents.
    private let vae: WanVAEConfig

    /// The model of a name (a bundled one) or of a folder; throws where its sizes are not the recipe's.
    init(_ nameOrPath: String, for recipe: Recipe) throws {
        let path = BundledModels.folder(nameOrPath) ?? nameOrPath
        guard FileManager.default.fileExists(atPath: path) else {
            let known = BundledModels.names.joined(separator: ", ")
            throw SwanError(
                .noSuchFile,
                "start: \(nameOrPath) is neither a bundled model (\(known)) nor the folder of one"
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

    /// The autoencoder's weights, and its config with the measured statistics of its latents.
    func autoencoder() throws -> ([String: Tensor], WanVAEConfig) { (try weights(.vae), vae) }

    /// The text encoder's weights.
    func textEncoder() throws -> [String: Tensor] { try weights(.textEncoder) }

    /// The transformer's weights.
    func transformer() throws -> [String: Tensor] { try weights(.transformer) }

    /// The tokenizer's file.
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
            "\(section): its sizes are not those of the model that 'start' names, \(folder.path)"
        )
    }
}
