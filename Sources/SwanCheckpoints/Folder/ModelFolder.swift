import Foundation
import SwanModels
public import SwanSystem
import SwanText
import Torch
package import TorchNN

/// A folder with the parts of a model, and where each of them is.
///
/// Three layouts are known by looking: one folder a part (`transformer/`, `vae/`, `text_encoder/`,
/// `tokenizer/`), as Swan and diffusers write it; the files of the original Wan checkpoints, to which
/// StreamDiffusionV2 adds a `model.pt` with the causal transformer; and single files of any name, as
/// ComfyUI has them, which are told by their keys.
public struct ModelFolder: Sendable {
    /// The folder.
    public let path: String
    /// The part of each kind that was found.
    public let parts: [Part: Files]
    private let checkpoints = OpenCheckpoints()

    /// What models are made of.
    public enum Part: String, Sendable, CaseIterable {
        /// The transformer; of two experts, the one for high noise.
        case transformer
        /// The expert for low noise of Wan 2.2's 14B models.
        case lowNoiseTransformer = "transformer_2"
        case vae
        case textEncoder = "text_encoder"
        /// The CLIP encoder of Wan 2.1's image-to-video models.
        case imageEncoder = "image_encoder"
        case tokenizer
    }

    /// The files of a part.
    public struct Files: Sendable, Equatable {
        /// Weights, or the tokenizer's model.
        public let data: String
        /// The sizes; nil where they follow from the weights.
        public let config: String?

        /// A part in one file, or one and its configuration.
        public init(data: String, config: String? = nil) {
            self.data = data
            self.config = config
        }
    }

    /// Looks into a folder, or beside a transformer's file. Missing parts are reported by `require`.
    ///
    /// - Parameter chosen: files to take for their parts, whatever else lies there.
    public init(_ path: String, choosing chosen: [Part: String] = [:]) throws(SwanError) {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
            throw SwanError(
                .noSuchModel,
                "there is no model at \(path): give a folder, or a name that 'swan models list' shows"
            )
        }
        var parts: [Part: Files] = [:]
        for (part, file) in chosen {
            guard FileManager.default.fileExists(atPath: file) else {
                throw SwanError(.noSuchFile, "\(file): no such file, given as the \(part.rawValue)")
            }
            parts[part] = Files(data: file)
        }
        let folder = isFolder.boolValue ? path : LooseFiles.root(of: path)
        if !isFolder.boolValue {
            parts[.transformer] = parts[.transformer] ?? Files(data: path)
        }
        self.path = path
        for part in Part.allCases where parts[part] == nil {
            parts[part] =
                Self.known[part, default: []].lazy
                .compactMap { Self.find($0, under: folder) }.first
        }
        parts = try LooseFiles(checkpoints).completing(parts, under: folder)
        // ComfyUI packs the tokenizer into the text encoder.
        if parts[.tokenizer] == nil, let text = parts[.textEncoder]?.data,
            try Tokenizer.isPacked(in: text, checkpoints)
        {
            parts[.tokenizer] = Files(data: text)
        }
        self.parts = parts
    }

    /// The checkpoint of a part or of another file, opened once.
    package func checkpoint(_ path: String) throws(SwanError) -> Checkpoint {
        try checkpoints.open(path)
    }

    /// The streaming configuration beside the parts, if there is one.
    public var streamConfiguration: String? { file("stream.yaml") }

    /// How the model streams: by another YAML file, by its own, or as usual.
    public func configuration(
        _ other: String? = nil
    ) throws(SwanError) -> StreamConfiguration {
        guard let path = other ?? streamConfiguration else { return StreamConfiguration() }
        return try StreamConfiguration(yamlAt: path)
    }

    /// A file of the folder; nil if there is none of that name.
    package func file(_ name: String) -> String? {
        let file = path + "/" + name
        // What is there and cannot be opened is an error of whoever reads it, not missing.
        return FileIdentity.isTaken(file) ? file : nil
    }

    /// Those of the parts that were not found, with the names they could have.
    public func missing(of needed: [Part] = Part.ofEveryModel) -> [String] {
        needed.filter { parts[$0] == nil }.map { part in
            let names = Self.known[part, default: []].flatMap(\.data)
            return "\(part.rawValue) (\(names.joined(separator: ", or ")))"
        }
    }

    /// The transformers that the model has: both experts where the one that is there is half of a pair.
    package func transformerParts() throws(SwanError) -> [Part] {
        let name = parts[.transformer]?.data.lowercased() ?? ""
        let isHalf = name.contains("high_noise") || name.contains("low_noise")
        let isIndexed = try DiffusersSettings(self).hasExperts
        let isPair = isHalf || isIndexed || parts[.lowNoiseTransformer] != nil
        return isPair ? [.transformer, .lowNoiseTransformer] : [.transformer]
    }

    /// A part, or an error that names it.
    package func require(_ part: Part) throws(SwanError) -> Files {
        try require([part])
        guard let files = parts[part] else {
            throw SwanError(.invalidModel, "\(path) has no \(part.rawValue)")
        }
        return files
    }

    /// Throws one error that names all of the parts that are missing.
    package func require(_ needed: [Part]) throws(SwanError) {
        let missing = missing(of: needed)
        guard missing.isEmpty else {
            throw SwanError(
                .invalidModel,
                "\(path) is not complete. Missing: \(missing.joined(separator: "; "))"
            )
        }
    }
}

extension ModelFolder.Part {
    /// The parts without which no model runs.
    public static let ofEveryModel: [ModelFolder.Part] = [
        .transformer, .vae, .textEncoder, .tokenizer,
    ]
}

// MARK: - Names

extension ModelFolder {
    /// Names that the data of a part can have, and where its configuration is then.
    private typealias Names = (data: [String], config: String?)

    /// The layouts with fixed names, the preferred first; a causal `model.pt` before the base model's weights.
    private static let known: [Part: [Names]] = {
        func weights(_ folder: String) -> Names {
            let name = folder + Part.transformer.dataName
            return ([name, name + ".index.json"], folder + "config.json")
        }
        func published(_ name: String) -> Names { ([name + ".pth", name + ".safetensors"], nil) }
        func encoder(_ folder: String) -> Names {
            let name = folder + "/" + Part.textEncoder.dataName
            return ([name, name + ".index.json"], folder + "/config.json")
        }
        func tokenizer(_ folder: String) -> Names {
            ([folder + Part.tokenizer.dataName, folder + "tokenizer.json"], nil)
        }
        return [
            .transformer: [
                weights("transformer/"), weights("high_noise_model/"),
                (["model.pt"], "config.json"), weights(""),
            ],
            .lowNoiseTransformer: [weights("transformer_2/"), weights("low_noise_model/")],
            .vae: [weights("vae/"), published("Wan2.1_VAE"), published("Wan2.2_VAE")],
            .textEncoder: [
                encoder("text_encoder"), published("models_t5_umt5-xxl-enc-bf16"),
            ],
            .imageEncoder: [
                encoder("image_encoder"),
                published("models_clip_open-clip-xlm-roberta-large-vit-huge-14"),
            ],
            .tokenizer: [
                tokenizer("tokenizer/"), tokenizer("google/umt5-xxl/"), tokenizer(""),
            ],
        ]
    }()

    private static func find(_ names: Names, under folder: String) -> Files? {
        func find(_ name: String) -> String? {
            let path = folder + "/" + name
            return FileIdentity.isTaken(path) ? path : nil
        }
        guard let data = names.data.lazy.compactMap(find).first else { return nil }
        return Files(data: data, config: names.config.flatMap(find))
    }
}
