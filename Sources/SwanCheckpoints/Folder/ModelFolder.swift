import Foundation
import SwanModels
public import SwanSystem
import SwanText
import Torch
package import TorchNN

/// A folder with the parts of a model, and the location of each part.
///
/// Three layouts are detected: one folder per part (`transformer/`, `vae/`, `text_encoder/`,
/// `tokenizer/`), as written by Swan and diffusers; the files of the original Wan checkpoints, to which
/// StreamDiffusionV2 adds a `model.pt` with the causal transformer; and single files of any name, as in
/// ComfyUI, which are identified by their keys.
public struct ModelFolder: Sendable {
    /// The folder's path, or that of the transformer file it was opened with.
    public let path: String
    /// The files of the parts that were found.
    public let parts: [Part: Files]
    /// Files in the folder that cannot be read and that no part needs, with the reasons.
    public let unreadable: [String]
    private let checkpoints = OpenCheckpoints()

    /// A part of a model.
    public enum Part: String, Sendable, CaseIterable {
        /// The transformer; if there are two experts, the one for high noise.
        case transformer
        /// The low-noise expert of Wan 2.2's 14B models.
        case lowNoiseTransformer = "transformer_2"
        case vae
        case textEncoder = "text_encoder"
        /// The CLIP encoder of Wan 2.1's image-to-video models.
        case imageEncoder = "image_encoder"
        case tokenizer
    }

    /// The files of a part.
    public struct Files: Sendable, Hashable {
        /// The path of the weights, or of the tokenizer's model.
        public let data: String
        /// The path of the configuration; nil if the sizes follow from the weights.
        public let config: String?
        /// The prefix of the part's keys in a file that contains other parts too, or that has one; nil
        /// if all of the file is this part.
        public let section: String?

        /// Creates a part from one file and, optionally, its configuration.
        public init(data: String, config: String? = nil, section: String? = nil) {
            self.data = data
            self.config = config
            self.section = section
        }
    }

    /// Finds the parts in a folder, or next to a transformer file. Missing parts are reported by `require`.
    ///
    /// - Parameters:
    ///   - path: The path of a folder or of a transformer file.
    ///   - chosen: Files to use for their parts, regardless of what the folder contains.
    public init(_ path: String, choosing chosen: [Part: String] = [:]) throws(SwanError) {
        let path = try HubCache.resolved(path)
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
            try Self.requireTarget(of: path)
            throw SwanError(
                .noSuchModel,
                "there is no model at \(path): specify a folder, or a name listed by 'swan models list'"
            )
        }
        var parts: [Part: Files] = [:]
        for (part, file) in chosen {
            guard FileManager.default.fileExists(atPath: file) else {
                throw SwanError(.noSuchFile, "\(file): no such file (for the \(part.rawValue))")
            }
            parts[part] = Files(data: file)
        }
        let folder = isFolder.boolValue ? path : LooseFiles.root(of: path)
        let loose = LooseFiles(checkpoints)
        if !isFolder.boolValue {
            // Another file may be chosen as the transformer, but the user named this one.
            if parts[.transformer] == nil { try loose.take(path, into: &parts) }
            parts[.transformer] = parts[.transformer] ?? Files(data: path)
        }
        self.path = path
        for part in Part.allCases where parts[part] == nil {
            parts[part] =
                Self.known[part, default: []].lazy
                .compactMap { Self.find($0, under: folder) }.first
        }
        (parts, unreadable) = try loose.completing(parts, under: folder)
        // ComfyUI packs the tokenizer into the text encoder's file.
        if parts[.tokenizer] == nil, let text = parts[.textEncoder]?.data,
            try Tokenizer.isPacked(in: text, checkpoints)
        {
            parts[.tokenizer] = Files(data: text)
        }
        self.parts = parts
    }

    /// Throws an error that says so if a path is a link to a file that does not exist.
    private static func requireTarget(of path: String) throws(SwanError) {
        guard FileIdentity.isTaken(path) else { return }
        throw SwanError(
            .noSuchModel,
            "\(path): is a link to a file that does not exist; if it is in the cache of a download"
                + " program, download the model again"
        )
    }

    /// Returns the weights of a part, whose file is opened only once.
    package func checkpoint(_ files: Files) throws(SwanError) -> Checkpoint {
        try checkpoints.open(files)
    }

    /// The files of a part at a path: all of a file, or the section with that part.
    package func files(at path: String, for kind: CheckpointKind) throws(SwanError) -> Files {
        Files(data: path, section: try checkpoints.sections(path).section(of: kind))
    }

    /// The path of the folder's `stream.yaml`, if there is one.
    public var streamConfiguration: String? { file("stream.yaml") }

    /// Reads the streaming configuration: the file `other` if given, else the model's own, else the defaults.
    public func configuration(
        _ other: String? = nil
    ) throws(SwanError) -> StreamConfiguration {
        guard let path = other ?? streamConfiguration else { return StreamConfiguration() }
        return try StreamConfiguration(yamlAt: path)
    }

    /// Returns the path of a file in the folder; nil if there is no file with that name.
    package func file(_ name: String) -> String? {
        let file = path + "/" + name
        // A file that exists but cannot be opened is not missing: reading it reports the error.
        return FileIdentity.isTaken(file) ? file : nil
    }

    /// Returns the parts in `needed` that were not found, with the file names they could have.
    public func missing(of needed: [Part] = Part.ofEveryModel) -> [String] {
        needed.filter { parts[$0] == nil }.map { part in
            let names = Self.known[part, default: []].flatMap(\.data)
            return "\(part.rawValue) (\(names.joined(separator: ", or ")))"
        }
    }

    /// Returns the model's transformers: both experts if the one that was found is half of a pair.
    package func transformerParts() throws(SwanError) -> [Part] {
        let name = parts[.transformer]?.data.lowercased() ?? ""
        let isHalf = name.contains("high_noise") || name.contains("low_noise")
        let isIndexed = try DiffusersSettings(self).hasExperts
        let isPair = isHalf || isIndexed || parts[.lowNoiseTransformer] != nil
        return isPair ? [.transformer, .lowNoiseTransformer] : [.transformer]
    }

    /// What is in the folder but cannot be used, for errors about missing parts.
    private var remarks: String {
        let downloads = UnfinishedDownloads.files(under: LooseFiles.folder(of: path))
        var lines = unreadable.map { "cannot be read: \($0)" }
        lines += downloads.prefix(12).map {
            "\($0.printable(limit: 1_000)): is a download that is not finished"
        }
        return lines.map { "\n" + $0 }.joined()
    }

    /// Returns the files of a part, or throws an error that names it.
    package func require(_ part: Part) throws(SwanError) -> Files {
        try require([part])
        guard let files = parts[part] else {
            throw SwanError(.invalidModel, "\(path) has no \(part.rawValue)")
        }
        return files
    }

    /// Throws one error that names all missing parts.
    package func require(_ needed: [Part]) throws(SwanError) {
        let missing = missing(of: needed)
        guard missing.isEmpty else {
            throw SwanError(
                .invalidModel,
                "\(path) is not complete; missing: \(missing.joined(separator: "; "))" + remarks
            )
        }
    }
}

extension ModelFolder.Part {
    /// The parts that every model needs.
    public static let ofEveryModel: [ModelFolder.Part] = [
        .transformer, .vae, .textEncoder, .tokenizer,
    ]
}

// MARK: - Names

extension ModelFolder {
    /// The file names that a part's data can have, and the location of its configuration in that layout.
    private typealias Names = (data: [String], config: String?)

    /// The layouts with fixed names, in order of preference; a causal `model.pt` precedes the
    /// base model's weights.
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
