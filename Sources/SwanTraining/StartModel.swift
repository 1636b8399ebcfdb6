import Foundation
import SwanCheckpoints
import SwanSystem
import SwanModels
import SwanPipelines
import Torch

/// A trained model that a recipe goes on from, so that a style more takes minutes and not hours.
///
/// Its autoencoder and its tokenizer are taken as they are; its text encoder and transformer are what
/// training begins with. It is laid out as `swan train` leaves a model.
struct StartModel {
    /// The names of the styles that it was taught.
    let styles: Set<String>
    private let root: URL
    /// Of its autoencoder, with what was measured of its latents.
    private let vae: WanVAEConfig

    /// The model of a name (a bundled one) or of a folder; throws where its sizes are not the recipe's.
    init(_ nameOrPath: String, for recipe: Recipe) throws {
        let path = BundledModels.folder(nameOrPath) ?? nameOrPath
        root = URL(fileURLWithPath: path, isDirectory: true)
        guard FileManager.default.fileExists(atPath: root.appending(path: "vae").path) else {
            let known = BundledModels.names.joined(separator: ", ")
            throw TrainingError(
                .noSuchFile,
                "start: \(nameOrPath) is neither a bundled model (\(known)) nor a folder of one"
            )
        }
        let taught = try Recipe(contentsOf: root.appending(path: "recipe.yaml").path)
        styles = Set(taught.styles.map(\.name))
        vae = try Self.config("vae", in: root)
        var sizes = vae
        sizes.latentsMean = recipe.vae.model.latentsMean
        sizes.latentsStd = recipe.vae.model.latentsStd
        try require(sizes == recipe.vae.model, "vae.model")
        try require(
            Self.config("transformer", in: root) == recipe.transformer.model,
            "transformer.model"
        )
        try require(Self.config("text_encoder", in: root) == recipe.text.model, "text.model")
    }

    /// The autoencoder's weights, and its config with what was measured of its latents.
    func autoencoder() throws -> ([String: Tensor], WanVAEConfig) {
        (try weights("vae", "diffusion_pytorch_model"), vae)
    }

    /// The text encoder's weights.
    func textEncoder() throws -> [String: Tensor] { try weights("text_encoder", "model") }

    /// The transformer's weights.
    func transformer() throws -> [String: Tensor] {
        try weights("transformer", "diffusion_pytorch_model")
    }

    /// The tokenizer's file.
    func tokenizer() throws -> Data {
        try SmallFile.data(
            root.appending(path: "tokenizer/spiece.model").path,
            atMost: SmallFile.list
        )
    }

    private static func config<Config: Decodable>(
        _ part: String,
        in root: URL
    ) throws -> Config {
        try JSONDecoder().decode(
            Config.self,
            from: SmallFile.data(root.appending(path: "\(part)/config.json").path)
        )
    }

    private func weights(_ part: String, _ name: String) throws -> [String: Tensor] {
        let file = try SafetensorsFile(
            path: root.appending(path: "\(part)/\(name).safetensors").path
        )
        var weights: [String: Tensor] = [:]
        for key in file.keys { weights[key] = try file.tensor(key).to(.float32).cloned() }
        return weights
    }

    private func require(_ isSame: Bool, _ section: String) throws {
        guard !isSame else { return }
        throw TrainingError(
            .invalidRecipe,
            "\(section): its sizes are not those of the model that 'start' names, \(root.path)"
        )
    }
}
