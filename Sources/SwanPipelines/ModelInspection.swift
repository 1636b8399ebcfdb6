import Foundation
import SwanModels
import Torch
import TorchNN

/// What is in a model's folder: its parts, their sizes, and what is missing. No weights are read.
public struct ModelInspection: Sendable, Encodable {
    /// One part of the model.
    public struct Part: Sendable, Encodable {
        /// `transformer`, `vae`, `text_encoder` or `tokenizer`.
        public let name: String
        /// The file with its weights.
        public let file: String
        /// The sizes that matter, by name.
        public let sizes: [String: Int]
        /// How many numbers its weights are; nil for a tokenizer.
        public let parameters: Int?
        /// The dtypes its weights are stored as, the most frequent first.
        public let dtypes: [String]
        /// Bytes on disk, of all shards.
        public let bytes: Int
    }

    /// The folder.
    public let path: String
    /// What kind of model it is, in words.
    public let kind: String
    /// The parts that were found.
    public let parts: [Part]
    /// The parts that were not found, and the names they could have.
    public let missing: [String]
    /// The denoising steps it streams with.
    public let steps: [Int]
    /// The size it streams at unless told otherwise, in pixels.
    public let height, width: Int?
    /// Sides of pictures must be multiples of this.
    public let sizeMultiple: Int

    /// All weights together.
    public var parameters: Int { parts.reduce(0) { $0 + ($1.parameters ?? 0) } }
    /// All files together.
    public var bytes: Int { parts.reduce(0) { $0 + $1.bytes } }

    /// For people, a line each.
    public var lines: [String] {
        var lines = [path, "  " + kind]
        for part in parts {
            let sizes = part.sizes.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
            let numbers = part.parameters.map { ["\(Self.short($0)) parameters"] } ?? []
            let facts = numbers + part.dtypes + ["\(Self.short(part.bytes))B"] + sizes
            lines.append("  \(part.name): \(facts.joined(separator: ", "))")
            lines.append("    \(part.file)")
        }
        lines.append(
            "  together: \(Self.short(parameters)) parameters, \(Self.short(bytes))B on disk"
        )
        if let height, let width {
            lines.append("  streams at \(width)x\(height) unless told otherwise")
        }
        lines.append("  sides are multiples of \(sizeMultiple); steps \(steps)")
        return lines + missing.map { "  MISSING: \($0)" }
    }

    /// A number with a unit: 4.4 M.
    private static func short(_ number: Int) -> String {
        for (unit, size) in [("G", 1e9), ("M", 1e6), ("k", 1e3)] where Double(number) >= size {
            return String(format: "%.1f ", Double(number) / size) + unit
        }
        return "\(number) "
    }

    private enum CodingKeys: String, CodingKey {
        case path, kind, parts, missing, steps, height, width, sizeMultiple = "size_multiple"
    }

    /// Looks at a bundled model, by its name, or at a folder.
    public init(_ nameOrPath: String) throws {
        let folder = try ModelFolder(BundledModels.folder(nameOrPath) ?? nameOrPath)
        let configs = try folder.configs()
        path = folder.path
        missing = folder.missing
        sizeMultiple = configs.sizeMultiple
        var parts: [Part] = []
        for part in ModelFolder.Part.allCases {
            guard let files = folder.parts[part] else { continue }
            parts.append(try Part(part, files, configs))
        }
        self.parts = parts
        let stream = try folder.streamConfiguration.map { try StreamConfiguration(yamlAt: $0) }
        steps = (stream ?? StreamConfiguration()).steps
        (height, width) = (stream?.height, stream?.width)
        let transformer = configs.transformer
        let known = [(WanConfig.wan1_3B, "1.3B"), (.wan14B, "14B")].first { $0.0 == transformer }
        let size = known.map { " of the size \($0.1)" } ?? ""
        kind =
            folder.parts[.transformer] == nil
            ? "not a model: there is no transformer in it"
            : "Wan \(configs.vae.zDim == 48 ? "2.2" : "2.1") latents, causal transformer\(size): "
                + "\(transformer.layers) layers of width \(transformer.dim)"
    }
}

extension ModelInspection.Part {
    init(
        _ part: ModelFolder.Part,
        _ files: ModelFolder.Files,
        _ configs: ModelFolder.Configs
    ) throws {
        name = part.rawValue
        file = files.data
        switch part {
        case .transformer:
            let config = configs.transformer
            sizes = [
                "dim": config.dim, "ffn_dim": config.ffnDim, "num_heads": config.heads,
                "num_layers": config.layers, "in_dim": config.inDim,
            ]
        case .vae:
            let config = configs.vae
            sizes = [
                "z_dim": config.zDim, "base_dim": config.baseDim,
                "spatial_stride": config.spatialStride, "temporal_stride": config.temporalStride,
            ]
        case .textEncoder:
            let config = configs.textEncoder
            sizes = [
                "d_model": config.dim, "num_layers": config.layers, "num_heads": config.heads,
                "vocab_size": config.vocabulary,
            ]
        case .tokenizer: sizes = [:]
        }
        guard part != .tokenizer else {
            (parameters, dtypes) = (nil, [])
            bytes = Self.bytes(files.data)
            return
        }
        let checkpoint = try Checkpoint.open(files.data)
        var counts: [String: Int] = [:]
        for key in checkpoint.keys {
            guard let shape = checkpoint.shape(key), let dtype = checkpoint.dtype(key) else {
                continue
            }
            counts["\(dtype)", default: 0] += shape.reduce(1, *)
        }
        parameters = counts.values.reduce(0, +)
        dtypes = counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map(\.key)
        bytes = try Self.files(files.data).reduce(0) { $0 + Self.bytes($1) }
    }

    /// The file itself, or the shards of an index.
    private static func files(_ path: String) throws -> [String] {
        guard path.hasSuffix(".index.json") else { return [path] }
        struct Index: Decodable { let weight_map: [String: String] }
        let url = URL(fileURLWithPath: path)
        let index = try JSONDecoder().decode(Index.self, from: Data(contentsOf: url))
        return Set(index.weight_map.values).map {
            url.deletingLastPathComponent().appendingPathComponent($0).path
        }
    }

    private static func bytes(_ path: String) -> Int {
        var status = stat()
        return stat(path, &status) == 0 ? Int(status.st_size) : 0
    }
}

extension ModelFolder {
    /// The sizes of all parts.
    struct Configs {
        let transformer: WanConfig
        let vae: WanVAEConfig
        let textEncoder: UMT5Config
        /// What takes the place of the model's own autoencoder.
        var autoencoder: AutoencoderChoice?

        private var spatialStride: Int { autoencoder?.spatialStride ?? vae.spatialStride }

        /// Sides of pictures must be multiples of this: patches of latents.
        var sizeMultiple: Int {
            spatialStride * max(transformer.patchSize[1], transformer.patchSize[2])
        }

        /// Bytes that a stream takes beside its weights, about: its KV cache, and the largest
        /// activations of the transformer and of the decoder.
        func streamBytes(_ options: StreamOptions, _ dtype: DType) -> Int {
            let configuration = options.configuration
            let rows = options.streamBatch ? configuration.steps.count : 1
            let tokens = transformer.tokensPerFrame(
                height: options.height / spatialStride,
                width: options.width / spatialStride
            )
            let cache = 2 * transformer.layers * transformer.dim * configuration.cacheFrames
            let activations =
                configuration.framesPerBlock * (4 * transformer.dim + transformer.ffnDim)
            let (patch, features) =
                switch autoencoder {
                case .tiny(_, let tiny):
                    (tiny.patchSize, 2 * tiny.temporalStride * tiny.decoderDims[3])
                default:
                    (vae.patchSize, 3 * vae.temporalStride * max(vae.baseDim, vae.decoderBaseDim))
                }
            let pixels = options.height * options.width / (patch * patch)
            return dtype.size * (rows * tokens * (cache + activations) + pixels * features)
        }
    }

    /// The sizes of the parts; the published ones for a part that is missing or says nothing.
    func configs() throws -> Configs {
        Configs(
            transformer: try parts[.transformer].map {
                try StreamModel.config($0, WanConfig.wan1_3B)
            } ?? .wan1_3B,
            vae: try parts[.vae].map { try StreamModel.config($0, WanVAEConfig.wan21) } ?? .wan21,
            textEncoder: try parts[.textEncoder].map {
                try StreamModel.config($0, UMT5Config.xxl)
            } ?? .xxl
        )
    }

    /// Throws one error that names all parts that are missing.
    func requireAll(except others: [Part] = []) throws(SwanError) {
        for part in Part.allCases where !others.contains(part) { _ = try require(part) }
    }
}
