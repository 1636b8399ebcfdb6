import Foundation
package import SwanSystem
package import SwanModels
import Torch
package import TorchNN

extension ModelFolder {
    /// The sizes of all parts.
    package struct Configs {
        package let transformer: WanConfig
        package let vae: WanVAEConfig
        package let textEncoder: UMT5Config
        /// What takes the place of the model's own autoencoder.
        package var autoencoder: AutoencoderChoice?

        /// Pixels on a side of what one latent stands for.
        package var spatialStride: Int { autoencoder?.spatialStride ?? vae.spatialStride }

        /// Sides of pictures must be multiples of this: patches of latents.
        package var sizeMultiple: Int {
            spatialStride * max(transformer.patchSize[1], transformer.patchSize[2])
        }
    }

    /// The sizes of the parts; the published ones for a part that is missing.
    package func configs() throws -> Configs {
        Configs(
            transformer: try config(of: .transformer) ?? WanConfig(),
            vae: try config(of: .vae) ?? WanVAEConfig(),
            textEncoder: try config(of: .textEncoder) ?? UMT5Config()
        )
    }

    /// The sizes of a part; nil where it is missing.
    package func config<Config: FittedConfig>(of part: Part) throws -> Config? {
        try parts[part].map { try Config.read($0, fittedTo: weights(of: $0)) }
    }

    /// The weights of a part in Wan's names; they are read when they are asked for.
    package func weights(of files: Files) throws(SwanError) -> any WeightSource {
        do {
            return try checkpoint(files.data).inWanNames()
        } catch {
            throw error.about(files.data)
        }
    }

    /// Whether the transformer is a causal one, which streams.
    package var isCausal: Bool {
        streamConfiguration != nil || parts[.transformer]?.data.hasSuffix("/model.pt") ?? false
    }

    /// What a model that does not stream makes of what.
    package func variant(_ configs: Configs) throws(SwanError) -> WanVariant {
        WanVariant(
            configs.transformer,
            hasExperts: parts[.lowNoiseTransformer] != nil
        )
    }
}

// MARK: - Memory

extension WanVAEConfig {
    /// What the decoder's last level has in memory: numbers for each square of so many pixels a side.
    package var decoderFeatures: (patch: Int, numbers: Int) {
        (patchSize, 3 * temporalStride * max(baseDim, decoderBaseDim))
    }
}

extension TinyVAEConfig {
    /// What the decoder's last level has in memory: numbers for each square of so many pixels a side.
    var decoderFeatures: (patch: Int, numbers: Int) {
        (patchSize, 2 * temporalStride * decoderDims[3])
    }
}

// MARK: - From files

/// Sizes of a network that can be told from a config.json and from the weights.
package protocol FittedConfig: Decodable {
    /// The published sizes.
    init()
    /// These sizes with all that the shapes of the weights say.
    func fitted(to source: any WeightSource) throws(SwanError) -> Self
    /// How many blocks there are; nil where that is no size of the network.
    var blockCount: Int? { get }
    /// What the names of the classes that have it contain, in lower case.
    static var classMark: String { get }
}

/// The class that a configuration names, if it does.
private struct ConfigurationClass: Decodable {
    let _class_name: String?
    let architectures: [String]?

    var names: [String] { (_class_name.map { [$0] } ?? []) + (architectures ?? []) }
}

extension FittedConfig {
    package var blockCount: Int? { nil }

    /// What the part's config.json says, where it has one; for what it leaves out, the weights.
    package static func read(
        _ files: ModelFolder.Files,
        fittedTo source: any WeightSource
    ) throws -> Self {
        let said = try files.config.map { try Self(configurationAt: $0) }
        let fitted: Self
        do {
            fitted = try (said ?? Self()).fitted(to: source)
        } catch {
            throw error.about(files.data)
        }
        if let said = said?.blockCount, let found = fitted.blockCount, said != found,
            let config = files.config
        {
            throw SwanError(
                .invalidModel,
                "\(config) says \(said) layers, and the weights in \(files.data) have \(found): "
                    + "the checkpoint is not whole, or the file is another model's"
            )
        }
        return fitted
    }

    private init(configurationAt path: String) throws(SwanError) {
        do {
            let data = try SmallFile.data(path)
            // diffusers and transformers say what a configuration is of.
            let named = try JSONDecoder().decode(ConfigurationClass.self, from: data)
            if let other = named.names.first(where: { !$0.lowercased().contains(Self.classMark) }) {
                throw SwanError(
                    .invalidModel,
                    "\(path) is of another kind of model: \(other.printable())"
                )
            }
            self = try JSONDecoder().decode(Self.self, from: data)
        } catch let error as SwanError {
            throw error.as(.invalidModel)
        } catch {
            throw SwanError(
                .invalidModel,
                "\(path) is not a configuration of this part: "
                    + Self.reason(error).printable(limit: 1_000)
            )
        }
    }

    private static func reason(_ error: any Error) -> String {
        guard let error = error as? DecodingError else { return error.localizedDescription }
        return switch error {
        case .keyNotFound(let key, _): "\(key.stringValue) is missing"
        case .dataCorrupted(let context), .typeMismatch(_, let context),
            .valueNotFound(_, let context):
            (context.codingPath.map(\.stringValue) + [context.debugDescription])
                .joined(separator: ": ")
        @unknown default: "\(error)"
        }
    }
}

extension WanConfig: FittedConfig {
    package var blockCount: Int? { layers }
    package static var classMark: String { "wan" }
}
extension WanVAEConfig: FittedConfig {
    package static var classMark: String { "wan" }
}
extension UMT5Config: FittedConfig {
    package var blockCount: Int? { layers }
    package static var classMark: String { "t5" }
}
extension CLIPVisionConfig: FittedConfig {
    package static var classMark: String { "clip" }
}
