import Foundation
package import SwanModels
package import SwanSystem
package import Torch
import TorchNN

/// The autoencoder that a model uses: its own, a tiny one in its place, or its own encoder
/// with a tiny decoder.
package indirect enum AutoencoderChoice: LatentStrides, Sendable {
    /// Wan's autoencoder.
    case wan(ModelFolder.Files, WanVAEConfig)
    /// TAEHV, with the path of its weights.
    case tiny(String, TinyVAEConfig)
    /// The encoder of one and the decoder of another.
    case pair(encoding: AutoencoderChoice, decoding: AutoencoderChoice)

    /// Finds an autoencoder. Reads the shapes of its weights, not the weights.
    ///
    /// - Parameters:
    ///   - name: nil for the model's own autoencoder, `tiny` for a tiny one in the model's folder,
    ///     `tiny-decoder` for the decoder of that one with the model's own encoder, or the path of
    ///     weights or of a folder that contains a tiny one.
    ///   - folder: The model's folder.
    ///   - latentChannels: The number of latent channels that the transformer expects.
    package init(_ name: String?, in folder: ModelFolder, latentChannels: Int) throws {
        let own: WanVAEConfig? = try folder.config(of: .vae)
        guard let name else {
            self = .wan(try folder.require(.vae), own ?? .wan21)
            return
        }
        guard name != "tiny-decoder" else {
            self = .pair(
                encoding: try Self(nil, in: folder, latentChannels: latentChannels),
                decoding: try Self("tiny", in: folder, latentChannels: latentChannels)
            )
            return
        }
        let path = try Self.file(name, folder, latentChannels)
        let files = try folder.files(at: path, for: .vae)
        let checkpoint = try folder.checkpoint(files)
        if checkpoint.keys.contains("encoder.0.weight") {
            do {
                self = .tiny(path, try TinyVAEConfig(of: Weights(checkpoint)))
            } catch {
                throw error.about(path)
            }
        } else {
            do {
                let source = try checkpoint.inWanNames()
                self = .wan(files, try (own ?? WanVAEConfig()).fitted(to: source))
            } catch {
                throw error.about(path)
            }
        }
        guard self.latentChannels == latentChannels else {
            throw SwanError(
                .invalidModel,
                "the autoencoder \(path) has \(self.latentChannels) channels, but the transformer "
                    + "expects \(latentChannels)" + Self.hint(latentChannels)
            )
        }
        guard own.map({ $0.spatialStride == spatialStride }) ?? true else {
            throw SwanError(
                .invalidModel,
                "the autoencoder \(path) has a spatial stride of \(spatialStride), which differs from "
                    + "that of the model's own autoencoder: it belongs to a different model"
            )
        }
    }

    /// The number of latent channels.
    package var latentChannels: Int {
        switch self {
        case .wan(_, let config): config.zDim
        case .tiny(_, let config): config.latentChannels
        case .pair(let encoding, _): encoding.latentChannels
        }
    }

    /// The spatial stride: the side, in pixels, of the square that one latent position encodes.
    package var spatialStride: Int {
        switch self {
        case .wan(_, let config): config.spatialStride
        case .tiny(_, let config): config.spatialStride
        case .pair(let encoding, _): encoding.spatialStride
        }
    }

    /// The temporal stride: the number of frames that each latent frame after the first encodes.
    package var temporalStride: Int {
        switch self {
        case .wan(_, let config): config.temporalStride
        case .tiny(_, let config): config.temporalStride
        case .pair(let encoding, _): encoding.temporalStride
        }
    }

    /// The features of the decoder's last level: `numbers` values for each square of `patch`
    /// by `patch` pixels.
    package var decoderFeatures: (patch: Int, numbers: Int) {
        switch self {
        case .wan(_, let config): config.decoderFeatures
        case .tiny(_, let config): config.decoderFeatures
        case .pair(_, let decoding): decoding.decoderFeatures
        }
    }

    /// The files that contain the weights.
    package var files: [String] {
        switch self {
        case .wan(let files, _): [files.data]
        case .tiny(let path, _): [path]
        case .pair(let encoding, let decoding): encoding.files + decoding.files
        }
    }

    /// Loads the network. Every key must match.
    ///
    /// - Parameter folder: The model's folder that was passed to the initializer.
    package func load(
        from folder: ModelFolder,
        _ dtype: DType,
        _ device: Device
    ) throws(SwanError) -> any VideoAutoencoder {
        switch self {
        case .wan(let files, let config):
            try folder.loadVerified(of: files, dtype, device) { weights throws(SwanError) in
                try WanVAE(weights, config)
            }
        case .tiny(let path, let config):
            try folder.loadVerified(of: ModelFolder.Files(data: path), dtype, device) {
                weights throws(SwanError) in try TinyVAE(weights, config)
            }
        case .pair(let encoding, let decoding):
            try AutoencoderPair(
                encoding: encoding.load(from: folder, dtype, device),
                decoding: decoding.load(from: folder, dtype, device)
            )
        }
    }
}

// MARK: - Finding a tiny autoencoder

extension AutoencoderChoice {
    /// The subfolders of a model that may contain a tiny autoencoder.
    private static let folders = ["", "taehv/", "vae/", "vae_approx/"]

    private static func names(_ latentChannels: Int) -> [String] {
        let stems =
            switch latentChannels {
            case 16: ["taew2_1"]
            case 48: ["taew2_2", "taew2_2_super"]
            default: ["taew2_1", "taew2_2"]
            }
        return stems.flatMap { [$0 + ".pth", $0 + ".safetensors"] }
    }

    private static func hint(_ latentChannels: Int) -> String {
        guard latentChannels == 16 || latentChannels == 48 else { return "" }
        return "; use \(names(latentChannels)[0])"
    }

    private static func file(
        _ name: String,
        _ model: ModelFolder,
        _ latentChannels: Int
    ) throws(SwanError) -> String {
        func isFolder(_ path: String) -> Bool? {
            var isFolder: ObjCBool = false
            let exists = FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
            return exists ? isFolder.boolValue : nil
        }
        var place = name
        if name == "tiny" {
            let parent = URL(fileURLWithPath: model.path).deletingLastPathComponent().path
            place = isFolder(model.path) == true ? model.path : parent
        }
        switch isFolder(place) {
        case false?: return place
        case nil:
            throw SwanError(
                .noSuchFile,
                "\(name): no such file; specify 'tiny', 'tiny-decoder' or the path of an autoencoder's weights"
            )
        case true?: break
        }
        let names = names(latentChannels)
        for folder in folders {
            for name in names {
                let path = "\(place)/\(folder)\(name)"
                if isFolder(path) == false { return path }
            }
        }
        throw SwanError(
            .invalidModel,
            "\(place) has no tiny autoencoder: put \(names.joined(separator: " or ")) there or in its "
                + "taehv/ subfolder; download it from github.com/madebyollin/taehv"
        )
    }
}
