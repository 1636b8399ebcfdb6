import Foundation
import SwanModels
import SwanSystem
import Torch
import TorchNN

/// The contents of a model folder: its parts, their sizes, and what is missing. No weights are read.
public struct ModelInspection: Sendable, Encodable {
    /// One part of the model.
    public struct Part: Sendable, Encodable {
        /// `transformer`, `transformer_2`, `vae`, `text_encoder`, `image_encoder` or `tokenizer`.
        public let name: String
        /// The path of the weight file.
        public let file: String
        /// The main sizes, by name.
        public let sizes: [String: Int]
        /// The number of parameters; nil for a tokenizer.
        public let parameters: Int?
        /// The dtypes of the stored weights, the most frequent first.
        public let dtypes: [String]
        /// The size on disk in bytes, including all shards.
        public let bytes: Int
    }

    /// The folder's path.
    public let path: String
    /// A description of the kind of model.
    public let kind: String
    /// The parts that were found.
    public let parts: [Part]
    /// The parts that were not found, with the file names they could have.
    public let missing: [String]
    /// The generation task; nil for a streaming model.
    public let task: WanVariant.Task?
    /// The denoising steps for streaming; nil for a model that does not stream.
    public let steps: [Int]?
    /// The default frame size in pixels.
    public let height, width: Int?
    /// The number that the frame width and height must be multiples of.
    public let sizeMultiple: Int

    /// The total number of parameters.
    public var parameters: Int { parts.reduce(0) { $0 + ($1.parameters ?? 0) } }
    /// The total size of all files in bytes.
    public var bytes: Int { parts.reduce(0) { $0 + $1.bytes } }

    /// A human-readable listing, line by line.
    public var lines: [String] {
        var lines = [path.printable(limit: Self.longestPath), "  " + kind]
        for part in parts {
            let sizes = part.sizes.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
            let numbers = part.parameters.map { ["\(Self.short($0)) parameters"] } ?? []
            let facts = numbers + part.dtypes + ["\(Self.short(part.bytes))B"] + sizes
            lines.append("  \(part.name): \(facts.joined(separator: ", "))")
            lines.append("    \(part.file.printable(limit: Self.longestPath))")
        }
        lines.append(
            "  total: \(Self.short(parameters)) parameters, \(Self.short(bytes))B on disk"
        )
        let size = height.flatMap { height in width.map { "\($0)x\(height)" } }
        if let size { lines.append("  default size: \(size)") }
        lines.append("  width and height: multiples of \(sizeMultiple)")
        if let steps { lines.append("  denoising steps: \(steps)") }
        return lines + missing.map { "  MISSING: \($0)" }
    }

    /// The maximum number of characters of a path to show.
    static let longestPath = 4_096

    /// A number with a unit prefix, such as 4.4 M.
    private static func short(_ number: Int) -> String {
        for (unit, size) in [("G", 1e9), ("M", 1e6), ("k", 1e3)] where Double(number) >= size {
            return String(format: "%.1f ", Double(number) / size) + unit
        }
        return "\(number) "
    }

    private enum CodingKeys: String, CodingKey {
        case path, kind, task, parts, missing, steps, height, width, sizeMultiple = "size_multiple"
    }

    /// Inspects a bundled model, given its name, or a model folder.
    public init(_ nameOrPath: String) throws {
        let folder = try ModelFolder(BundledModels.folder(nameOrPath) ?? nameOrPath)
        let configs = try folder.configs()
        path = folder.path
        sizeMultiple = configs.sizeMultiple
        var parts: [Part] = []
        for part in ModelFolder.Part.allCases {
            guard let files = folder.parts[part] else { continue }
            parts.append(try Part(part, files, configs, folder))
        }
        self.parts = parts
        guard folder.parts[.transformer] != nil else {
            missing = folder.missing()
            (task, steps, height, width) = (nil, nil, nil, nil)
            kind = "not a model: no transformer found"
            return
        }
        let network = configs.transformer
        let layers = "\(network.layers) layers of width \(network.dim)"
        let latents = "Wan \(configs.vae.zDim == 48 ? "2.2" : "2.1") latents"
        guard !folder.isCausal else {
            let path = folder.streamConfiguration
            let stream = try path.map { try StreamConfiguration(yamlAt: $0) }
            missing = folder.missing()
            (task, steps) = (nil, (stream ?? StreamConfiguration()).steps)
            (height, width) = (stream?.height, stream?.width)
            kind = "\(latents), causal transformer\(Self.size(network)): \(layers)"
            return
        }
        let variant = try folder.variant(configs)
        let seeing: [ModelFolder.Part] = variant.seesImages ? [.imageEncoder] : []
        let experts = try folder.transformerParts()
        missing = folder.missing(
            of: experts + ModelFolder.Part.ofEveryModel.filter { $0 != .transformer } + seeing
        )
        task = variant.task
        steps = nil
        (height, width) = (variant.defaults.height, variant.defaults.width)
        let pair = variant.hasExperts ? ", two experts" : ""
        kind = "\(latents), \(variant.task.rawValue)\(Self.size(network))\(pair): \(layers)"
    }

    /// The published name of a transformer's size, if it has one.
    private static func size(_ config: WanConfig) -> String {
        let sizes = [1_536: "1.3B", 3_072: "5B", 5_120: "14B"]
        return sizes[config.dim].map { " \($0)" } ?? ""
    }
}

extension ModelInspection.Part {
    init(
        _ part: ModelFolder.Part,
        _ files: ModelFolder.Files,
        _ configs: ModelFolder.Configs,
        _ folder: ModelFolder
    ) throws {
        name = part.rawValue
        file = files.data
        switch part {
        case .transformer, .lowNoiseTransformer:
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
        case .imageEncoder, .tokenizer: sizes = [:]
        }
        guard part != .tokenizer else {
            (parameters, dtypes) = (nil, [])
            // In another part's file it takes next to nothing.
            let isPacked = folder.parts.contains {
                $0.key != .tokenizer && $0.value.data == files.data
            }
            bytes = isPacked ? 0 : Self.bytes(files.data)
            return
        }
        let checkpoint = try folder.checkpoint(files)
        var counts: [String: Int] = [:]
        for key in checkpoint.keys {
            guard let shape = checkpoint.shape(key), let dtype = checkpoint.storage(key) else {
                continue
            }
            counts[dtype, default: 0] += shape.reduce(1, *)
        }
        parameters = counts.values.reduce(0, +)
        dtypes = counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map(\.key)
        bytes =
            files.section == nil
            ? checkpoint.files.reduce(0) { $0 + Self.bytes($1) }
            : checkpoint.keys.reduce(0) { $0 + checkpoint.byteCount($1) }
    }

    private static func bytes(_ path: String) -> Int {
        var status = stat()
        return stat(path, &status) == 0 ? Int(status.st_size) : 0
    }
}
