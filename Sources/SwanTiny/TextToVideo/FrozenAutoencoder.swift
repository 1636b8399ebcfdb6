import Foundation
import SwanCheckpoints
import SwanModels
import SwanSystem
package import Torch
import TorchNN

/// The autoencoder of another model, which training uses unchanged.
package struct FrozenAutoencoder {
    /// The weights, in float32.
    let weights: [String: Tensor]
    /// The sizes, and the statistics of latents that its model was trained with.
    let config: WanVAEConfig

    /// Opens the autoencoder of a bundled model, by its name, or of a model folder.
    package init(of nameOrPath: String) throws {
        let path = ModelLocation.path(nameOrPath)
        guard FileManager.default.fileExists(atPath: path) else {
            let known = BundledModels.names.joined(separator: ", ")
            throw SwanError(
                .noSuchFile,
                "autoencoder: \(nameOrPath.printable()) is neither a bundled model (\(known)) "
                    + "nor a model folder"
            )
        }
        let folder = try ModelFolder(path)
        let files = try folder.require(.vae)
        let source = try folder.weights(of: files)
        config = try WanVAEConfig.read(files, fittedTo: source)
        var weights: [String: Tensor] = [:]
        for key in source.keys {
            guard let shape = try source.shape(key) else { continue }
            weights[key] = try source.tensor(key, shape).to(.float32).cloned()
        }
        self.weights = weights
    }

    /// Encodes and decodes a clip [T, 3, H, W] in [0, 1]; for measuring what survives.
    package func reproduced(_ clip: Tensor) throws -> Tensor {
        let codec = try LatentCodec(weights, config)
        return try withoutGradients {
            try codec.decode(codec.encode(clip.unsqueezed(0))).squeezed(0).clamped(min: 0, max: 1)
        }
    }
}
