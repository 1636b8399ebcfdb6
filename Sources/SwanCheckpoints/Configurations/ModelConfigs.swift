import Foundation
package import SwanSystem
package import SwanModels
import Torch
package import TorchNN

extension ModelFolder {
    /// The sizes of all parts of a model.
    package struct Configs {
        package let transformer: WanConfig
        package let vae: WanVAEConfig
        package let textEncoder: UMT5Config
        /// The autoencoder used in place of the model's own, if any.
        package var autoencoder: AutoencoderChoice?

        /// The spatial stride: the side, in pixels, of the square that one latent position encodes.
        package var spatialStride: Int { autoencoder?.spatialStride ?? vae.spatialStride }

        /// The frames that a latent frame after the first stands for.
        package var temporalStride: Int { autoencoder?.temporalStride ?? vae.temporalStride }

        /// The number that the frame width and height must be multiples of: the spatial stride times
        /// the patch size.
        package var sizeMultiple: Int {
            transformer.sizeMultiple(spatialStride: spatialStride)
        }
    }

    /// Returns the sizes of all parts, using the published sizes for missing parts.
    package func configs() throws -> Configs {
        Configs(
            transformer: try config(of: .transformer) ?? WanConfig(),
            vae: try config(of: .vae) ?? WanVAEConfig(),
            textEncoder: try config(of: .textEncoder) ?? UMT5Config()
        )
    }

    /// Returns the sizes of a part; nil if it is missing.
    package func config<Config: FittedConfig>(of part: Part) throws -> Config? {
        try parts[part].map { try Config.read($0, fittedTo: weights(of: $0)) }
    }

    /// Returns the weights of a part in Wan's names. They are read on demand.
    package func weights(of files: Files) throws(SwanError) -> any WeightSource {
        do {
            return try checkpoint(files).inWanNames()
        } catch {
            throw error.about(files.data)
        }
    }

    /// Whether the transformer is causal, so that the model can stream.
    package var isCausal: Bool {
        streamConfiguration != nil || parts[.transformer]?.data.hasSuffix("/model.pt") ?? false
    }

    /// Returns the variant of a model that does not stream.
    package func variant(_ configs: Configs) throws(SwanError) -> WanVariant {
        WanVariant(
            configs.transformer,
            hasExperts: parts[.lowNoiseTransformer] != nil,
            own: try GenerationDefaults(self)
        )
    }
}

// MARK: - Memory

extension WanVAEConfig {
    /// The features of the decoder's last level: `numbers` values for each square of `patch`
    /// by `patch` pixels.
    package var decoderFeatures: (patch: Int, numbers: Int) {
        (patchSize, 3 * temporalStride * max(baseDim, decoderBaseDim))
    }
}

extension TinyVAEConfig {
    /// The features of the decoder's last level: `numbers` values for each square of `patch`
    /// by `patch` pixels.
    var decoderFeatures: (patch: Int, numbers: Int) {
        (patchSize, 2 * temporalStride * decoderDims[3])
    }
}

// MARK: - Reading files

/// The sizes of a network, which can be read from a `config.json` and from the weights.
package protocol FittedConfig: Decodable {
    /// Creates a configuration with the published sizes.
    init()
    /// Returns this configuration with the sizes that the shapes of the weights determine.
    func fitted(to source: any WeightSource) throws(SwanError) -> Self
    /// The number of blocks; nil if the network has no such size.
    var blockCount: Int? { get }
    /// A lowercase substring of the names of the classes that have such a configuration.
    static var classMark: String { get }
}

/// The class names in a configuration, if it has any.
private struct ConfigurationClass: Decodable {
    let _class_name: String?
    let architectures: [String]?

    var names: [String] { (_class_name.map { [$0] } ?? []) + (architectures ?? []) }
}

extension FittedConfig {
    package var blockCount: Int? { nil }

    /// Reads the configuration of a part from its `config.json`, if there is one, and from its weights.
    ///
    /// The weights take precedence, except that a different number of blocks is an error.
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
                "\(config) specifies \(said) layers, but the weights in \(files.data) have \(found): "
                    + "the checkpoint is incomplete, or the file belongs to another model"
            )
        }
        return fitted
    }

    private init(configurationAt path: String) throws(SwanError) {
        do {
            let data = try SmallFile.data(path)
            // diffusers and transformers name the class that a configuration is for.
            let named = try JSONDecoder().decode(ConfigurationClass.self, from: data)
            if let other = named.names.first(where: { !$0.lowercased().contains(Self.classMark) }) {
                throw SwanError(
                    .invalidModel,
                    "\(path) is for another kind of model: \(other.printable())"
                )
            }
            self = try JSONDecoder().decode(Self.self, from: data)
        } catch let error as SwanError {
            throw error.as(.invalidModel)
        } catch {
            throw SwanError(
                .invalidModel,
                "\(path) is not a valid configuration of this part: "
                    + Self.reason(error).printable(limit: 1_000)
            )
        }
    }

    private static func reason(_ error: any Error) -> String {
        switch error {
        case DecodingError.keyNotFound(let key, _): return "\(key.stringValue) is missing"
        case let error as DecodingError:
            guard let context = error.context else { return "\(error)" }
            return (context.codingPath.map(\.stringValue) + [context.debugDescription])
                .joined(separator: ": ")
        default: return error.localizedDescription
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
