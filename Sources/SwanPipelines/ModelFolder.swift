import Foundation
import SwanModels
import SwanText
import Torch
import TorchNN

/// A folder with the parts of a streaming model, and where each of them is.
///
/// Two layouts are known by looking: one folder a part (`transformer/`, `vae/`, `text_encoder/`,
/// `tokenizer/`), as Swan and diffusers write it, and the files of the original Wan checkpoints, to which
/// StreamDiffusionV2 adds a `model.pt` with the causal transformer.
public struct ModelFolder: Sendable {
    /// The folder.
    public let path: String
    /// The part of each kind that was found.
    public let parts: [Part: Files]

    /// What a streaming model is made of.
    public enum Part: String, Sendable, CaseIterable {
        case transformer
        case vae
        case textEncoder = "text_encoder"
        case tokenizer
    }

    /// The files of a part.
    public struct Files: Sendable, Equatable {
        /// Weights, or the tokenizer's model.
        public let data: String
        /// The sizes; nil where the published ones are meant.
        public let config: String?
    }

    /// Looks into a folder. Parts that are missing are reported by `require`.
    public init(_ path: String) throws(SwanError) {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
            throw SwanError(
                .noSuchModel,
                "there is no model at \(path): give a folder, or a name that 'swan models list' shows"
            )
        }
        guard isFolder.boolValue else {
            throw SwanError(.noSuchModel, "\(path) is a file: a model is a folder of files")
        }
        self.path = path
        var parts: [Part: Files] = [:]
        for part in Part.allCases {
            for candidate in Self.candidates(part) {
                guard parts[part] == nil, let data = Self.find(candidate.data, under: path) else {
                    continue
                }
                parts[part] = Files(
                    data: data,
                    config: candidate.config.flatMap { Self.find([$0], under: path) }
                )
            }
        }
        self.parts = parts
    }

    /// The streaming configuration beside the parts, if there is one.
    public var streamConfiguration: String? { Self.find(["stream.yaml"], under: path) }

    /// The parts that were not found, with the names they could have.
    public var missing: [String] {
        Part.allCases.filter { parts[$0] == nil }.map { part in
            let names = Self.candidates(part).flatMap(\.data)
            return "\(part.rawValue) (\(names.joined(separator: ", or ")))"
        }
    }

    /// A part, or an error that names what is missing.
    func require(_ part: Part) throws(SwanError) -> Files {
        guard let files = parts[part] else {
            throw SwanError(
                .invalidModel,
                "\(path) is not complete. Missing: \(missing.joined(separator: "; "))"
            )
        }
        return files
    }

    /// Names a part can have, the first preferred; the causal `model.pt` before a base model's weights.
    private static func candidates(_ part: Part) -> [(data: [String], config: String?)] {
        let weights = [
            "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.safetensors.index.json",
        ]
        switch part {
        case .transformer:
            return [
                (weights.map { "transformer/" + $0 }, "transformer/config.json"),
                (["model.pt"] + weights, "config.json"),
            ]
        case .vae:
            return [
                (["vae/" + weights[0]], "vae/config.json"),
                (["Wan2.1_VAE.pth", "Wan2.1_VAE.safetensors"], nil),
            ]
        case .textEncoder:
            return [
                (
                    ["model.safetensors", "model.safetensors.index.json"].map {
                        "text_encoder/" + $0
                    },
                    "text_encoder/config.json"
                ),
                (
                    [
                        "models_t5_umt5-xxl-enc-bf16.pth",
                        "models_t5_umt5-xxl-enc-bf16.safetensors",
                    ], nil
                ),
            ]
        case .tokenizer:
            return [
                (["tokenizer/spiece.model"], nil), (["google/umt5-xxl/spiece.model"], nil),
            ]
        }
    }

    private static func find(_ names: [String], under path: String) -> String? {
        names.map { path + "/" + $0 }.first { FileManager.default.fileExists(atPath: $0) }
    }
}

/// The models that come with Swan.
public enum BundledModels {
    /// Their names.
    public static let names = ["tiny"]

    /// The folder of a bundled model; nil for another name, or where the resources are not installed.
    ///
    /// They lie beside the program, under `share/` of its prefix, or in the sources it was built from.
    public static func folder(_ name: String) -> String? {
        guard names.contains(name) else { return nil }
        let program = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
            .deletingLastPathComponent()
        let places = [
            program.appendingPathComponent("swan_SwanPipelines.resources"),
            program.deletingLastPathComponent().appendingPathComponent("share/swan"),
            URL(fileURLWithPath: #filePath).deletingLastPathComponent()
                .appendingPathComponent("Resources"),
        ]
        return places.map { $0.appendingPathComponent(name).path }
            .first { FileManager.default.fileExists(atPath: $0) }
    }
}

extension StreamModel {
    /// Loads a model by a bundled one's name or a folder's path.
    ///
    /// - Parameters:
    ///   - dtype: what the weights are converted to.
    ///   - vae: `tiny` for the tiny autoencoder in the folder, `tiny-decoder` for its decoder with the
    ///     model's own encoder, or a path of another one; nil for the model's own.
    ///   - configuration: a YAML file to stream by, instead of the model's own.
    public static func load(
        _ nameOrPath: String,
        dtype: DType,
        device: Device,
        vae: String? = nil,
        configuration: String? = nil
    ) throws -> StreamModel {
        let folder = try ModelFolder(BundledModels.folder(nameOrPath) ?? nameOrPath)
        let streamConfiguration: StreamConfiguration
        if let path = configuration ?? folder.streamConfiguration {
            streamConfiguration = try StreamConfiguration(yamlAt: path)
        } else {
            streamConfiguration = StreamConfiguration()
        }
        let tokenizerFile = try folder.require(.tokenizer).data
        let parts = try (folder.require(.transformer), folder.require(.textEncoder))
        let transformerConfig = try config(parts.0, WanConfig.wan1_3B)
        let autoencoder = try AutoencoderChoice(
            vae,
            in: folder,
            latentChannels: transformerConfig.inDim
        )
        let textConfig = try config(parts.1, UMT5Config.xxl)
        guard autoencoder.latentChannels == transformerConfig.inDim,
            textConfig.dim == transformerConfig.textDim
        else {
            throw SwanError(
                .invalidModel,
                "the parts of \(folder.path) do not fit each other: the autoencoder has "
                    + "\(autoencoder.latentChannels) channels, the transformer takes \(transformerConfig.inDim); the "
                    + "text encoder's width is \(textConfig.dim), the transformer takes \(transformerConfig.textDim)"
            )
        }
        // A tokenizer with byte pieces spells rare text out; the published one marks it unknown.
        let isPublished = textConfig.vocabulary == UMT5Config.xxl.vocabulary
        let tokenizer = try Tokenizer(
            contentsOf: tokenizerFile,
            rareText: isPublished ? .unknownMark : .bytes
        )
        try tokenizer.requireVocabulary(within: textConfig.vocabulary)
        return StreamModel(
            name: URL(fileURLWithPath: nameOrPath).lastPathComponent,
            transformer: try part(parts.0, dtype, device) { weights throws(TorchError) in
                try CausalWanTransformer(weights, transformerConfig)
            },
            vae: try autoencoder.load(dtype, device),
            textEncoder: try part(parts.1, dtype, device) { weights throws(TorchError) in
                try UMT5Encoder(weights, textConfig)
            },
            tokenizer: tokenizer,
            configuration: streamConfiguration,
            dtype: dtype,
            device: device
        )
    }

    static func config<Config: Decodable>(
        _ files: ModelFolder.Files,
        _ published: Config
    ) throws -> Config {
        guard let path = files.config else { return published }
        do {
            return try JSONDecoder().decode(
                Config.self,
                from: Data(contentsOf: URL(fileURLWithPath: path))
            )
        } catch {
            throw SwanError(.invalidModel, "\(path) is not a configuration of this part: \(error)")
        }
    }

    /// Builds a network from a checkpoint; every key must fit, every number be finite.
    static func part<Network>(
        _ files: ModelFolder.Files,
        _ dtype: DType,
        _ device: Device,
        _ build: (Weights) throws(TorchError) -> Network
    ) throws(TorchError) -> Network {
        let checkpoint = try Checkpoint.open(files.data)
        try checkpoint.requireFinite()
        let weights = try Weights(checkpoint.inWanNames(), dtype: dtype, device: device)
        let network = try build(weights)
        do {
            try weights.finish()
        } catch {
            throw TorchError(error.code, "\(files.data): \(error.message)")
        }
        return network
    }
}
