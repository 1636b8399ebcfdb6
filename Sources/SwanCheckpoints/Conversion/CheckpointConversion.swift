import Foundation
import SwanMedia
import SwanModels
import SwanSystem
import Synchronization
public import Torch
import TorchNN

/// A conversion of the weights of one part of a model to other names, another dtype or other files.
///
/// Tensors are copied in pieces, so that a large checkpoint needs little memory.
public struct CheckpointConversion: Sendable {
    /// The naming scheme of the result; nil to keep the names.
    public var naming: CheckpointNames.Naming?
    /// The dtype of floating-point weights in the result; nil to keep each tensor's own.
    public var dtype: DType?
    /// The part to convert of a file that contains several; nil for the only one.
    public var part: CheckpointKind?
    /// The maximum size in bytes of each file when the destination is a folder.
    public var shardBytes = 10_000_000_000
    private let work = PartialFolder()

    /// Extensions of weight files, which are unlikely to be meant as folder names.
    private static let otherEndings: Set = [
        "safetensors", "pth", "pt", "ckpt", "bin", "gguf", "onnx", "json",
    ]

    /// Creates a conversion that keeps names and dtypes.
    public init() {}

    /// The result of a conversion.
    public struct Result: Sendable, Encodable {
        /// The weight files that were written.
        public let files: [String]
        /// The part, if its names are known.
        public let part: String?
        /// The number of tensors and of parameters.
        public let tensors, parameters: Int
        /// The size of the weights in bytes.
        public let bytes: Int
    }

    /// Converts the weights at `source` and writes them to `destination`.
    ///
    /// - Parameters:
    ///   - source: A file (`.safetensors`, `.gguf`, `.pth`, `.pt`), a shard index, or a part's folder.
    ///   - destination: A file ending in `.safetensors`, or a folder, which gets a `config.json` if the
    ///     layout has one. It appears only when it is complete. Existing files are not replaced.
    public func callAsFunction(_ source: String, to destination: String) throws -> Result {
        let isFile = destination.hasSuffix(".safetensors")
        let ending = URL(fileURLWithPath: destination).pathExtension.lowercased()
        guard isFile || !Self.otherEndings.contains(ending) else {
            throw SwanError(
                .invalidRequest,
                "\(destination): unsupported format; specify a file that ends in .safetensors, "
                    + "or a folder"
            )
        }
        let found = try Source(source, part)
        guard !FileIdentity.isTaken(destination) else {
            throw SwanError(.cannotWrite, "\(destination): already exists; specify another name")
        }
        let plan = try Plan(found, self)
        let shards = isFile ? [plan.entries] : plan.shards(shardBytes)
        let sizes = shards.map { $0.reduce(0) { $0 + $1.byteCount } }
        try DiskSpace.require(
            sizes.reduce(0, +),
            for: destination,
            largestFile: sizes.max() ?? 0
        )
        let partial = try work.make(nextTo: destination)
        defer { work.remove() }
        let files: [String]
        if isFile {
            let file = partial + "/" + URL(fileURLWithPath: destination).lastPathComponent
            try plan.write(plan.entries, to: file)
            try work.rename(file, to: destination)
            files = [destination]
        } else {
            let names = try write(plan, shards, into: partial, destination, found)
            try work.rename(partial, to: destination)
            files = names.map { URL(fileURLWithPath: destination).appendingPathComponent($0).path }
        }
        return Result(
            files: files,
            part: plan.names?.part.rawValue,
            tensors: plan.entries.count,
            parameters: plan.entries.reduce(0) { $0 + $1.shape.reduce(1, *) },
            bytes: plan.entries.reduce(0) { $0 + $1.byteCount }
        )
    }

    /// Removes unfinished files, for a process that exits immediately. May be called from any thread.
    public func abandon() { work.remove() }

    /// Writes a part's files into a folder; returns the names of the weight files.
    private func write(
        _ plan: Plan,
        _ shards: [[Safetensors.Entry]],
        into folder: String,
        _ destination: String,
        _ source: Source
    ) throws -> [String] {
        let configuration = try plan.configuration(source)
        let name = plan.fileName(configuration)
        var files: [String] = []
        var places: [String: String] = [:]
        for (index, shard) in shards.enumerated() {
            let suffix = String(format: "-%05d-of-%05d", index + 1, shards.count)
            let file = name + (shards.count > 1 ? suffix : "") + ".safetensors"
            try plan.write(shard, to: folder + "/" + file)
            for entry in shard { places[entry.key] = file }
            files.append(file)
        }
        if shards.count > 1 {
            let index = ShardIndex(
                metadata: ["total_size": plan.entries.reduce(0) { $0 + $1.byteCount }],
                weight_map: places
            )
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
            let file = folder + "/" + name + ".safetensors.index.json"
            try OutputPath.write(encoder.encode(index), to: file)
        }
        if let json = try configuration?.json(plan.naming) {
            try OutputPath.write(json, to: folder + "/config.json")
        }
        return files
    }

    private struct ShardIndex: Encodable {
        let metadata: [String: Int]
        let weight_map: [String: String]
    }
}

// MARK: - Source

extension CheckpointConversion {
    /// The weights of a part and the configuration next to them.
    struct Source {
        let checkpoint: Checkpoint
        /// The path of the configuration, if there is one.
        let config: String?

        private static let names = [
            "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.safetensors.index.json",
            "model.safetensors", "model.safetensors.index.json", "model.pt",
        ]

        init(_ path: String, _ part: CheckpointKind?) throws {
            var isFolder: ObjCBool = false
            let manager = FileManager.default
            guard manager.fileExists(atPath: path, isDirectory: &isFolder) else {
                throw SwanError(.noSuchFile, "\(path): no such file or folder")
            }
            let file = isFolder.boolValue ? try Self.weights(in: path) : path
            checkpoint = try Self.part(part, of: Checkpoint.open(file))
            let config = URL(fileURLWithPath: file).deletingLastPathComponent()
                .appendingPathComponent("config.json").path
            self.config = manager.fileExists(atPath: config) ? config : nil
        }

        /// The part of a checkpoint to convert; all of it if it has no sections.
        private static func part(
            _ part: CheckpointKind?,
            of checkpoint: Checkpoint
        ) throws(SwanError) -> Checkpoint {
            let sections = try CheckpointSections(checkpoint)
            let found = sections.prefixes.keys.map(\.rawValue).sorted().joined(separator: ", ")
            guard
                let kind = part
                    ?? (sections.prefixes.count == 1 ? sections.prefixes.first?.key : nil)
            else {
                guard sections.prefixes.isEmpty else {
                    throw SwanError(
                        .invalidRequest,
                        "\(checkpoint.path): has several parts; choose one with --part: \(found)"
                    )
                }
                return checkpoint
            }
            guard sections.prefixes[kind] != nil else {
                throw SwanError(
                    .invalidRequest,
                    "\(checkpoint.path): has no \(kind.rawValue)"
                        + (found.isEmpty ? "" : "; it has: \(found)")
                )
            }
            guard let prefix = sections.section(of: kind) else { return checkpoint }
            return try sections.part(under: prefix, of: checkpoint)
        }

        /// Returns the path of the weight file in a part's folder.
        private static func weights(in folder: String) throws -> String {
            let there = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
            if let name = names.first(where: there.contains) { return folder + "/" + name }
            let files = there.filter { name in
                ["safetensors", "sft", "gguf", "pth", "pt", "ckpt", "bin"].contains {
                    name.hasSuffix("." + $0)
                }
                    && !name.hasPrefix(".")
            }
            guard files.count == 1 else {
                throw SwanError(
                    .invalidRequest,
                    files.isEmpty
                        ? "\(folder): no weights found; specify the folder or file of one part"
                        : "\(folder): specify one of its files: \(files.joined(separator: ", "))"
                )
            }
            return folder + "/" + files[0]
        }
    }

    // MARK: - Plan

    /// The tensors of the result, sorted by name, and their sources.
    struct Plan {
        let names: CheckpointNames?
        let naming: CheckpointNames.Naming
        let entries: [Safetensors.Entry]
        private let checkpoint: Checkpoint
        private let source: any WeightSource
        private let originals: [String: String]
        private let metadata: [String: String]

        /// The size in bytes of the pieces in which a tensor is converted.
        private static let pieceBytes = 1 << 26

        init(_ found: Source, _ conversion: CheckpointConversion) throws {
            checkpoint = found.checkpoint
            source = try ScaledWeights(checkpoint) ?? checkpoint
            let names = CheckpointNames(source.keys)
            guard names != nil || conversion.naming == nil else {
                throw SwanError(
                    .invalidModel,
                    "\(checkpoint.path): its keys are not those of a transformer, autoencoder or text "
                        + "encoder of Wan, so they cannot be renamed; to convert only the dtype, omit "
                        + "the naming scheme"
                )
            }
            let naming = conversion.naming ?? names?.naming ?? .original
            var originals: [String: String] = [:]
            var entries: [Safetensors.Entry] = []
            for key in source.keys.sorted() {
                guard let shape = checkpoint.shape(key), let stored = checkpoint.dtype(key),
                    let name = names.map({ $0.name(key, in: naming) }) ?? key
                else { continue }
                guard originals.updateValue(key, forKey: name) == nil else {
                    throw SwanError(
                        .invalidModel,
                        "\(checkpoint.path): two of its weights would be renamed to \(name)"
                    )
                }
                var dtype = stored
                let found = try source.stored(key, shape)
                if stored.isFloatingPoint || found.factor != nil {
                    let isNarrow = found.factor != nil || found.packing != nil
                    dtype = conversion.dtype ?? (isNarrow ? .bfloat16 : stored)
                }
                entries.append(Safetensors.Entry(name, shape, dtype))
            }
            self.names = names
            self.naming = naming
            self.originals = originals
            self.entries = entries.sorted { $0.key < $1.key }
            metadata = checkpoint.metadata.merging(["format": "pt"]) { old, _ in old }
        }

        /// Splits the entries into groups of at most `limit` bytes; a larger tensor is a group by itself.
        func shards(_ limit: Int) -> [[Safetensors.Entry]] {
            var shards: [[Safetensors.Entry]] = [[]]
            var size = 0
            for entry in entries {
                if size > 0, size + entry.byteCount > limit {
                    shards.append([])
                    size = 0
                }
                shards[shards.count - 1].append(entry)
                size += entry.byteCount
            }
            return shards
        }

        /// Writes entries to a file.
        func write(_ entries: [Safetensors.Entry], to path: String) throws(SwanError) {
            try Safetensors.write(entries, metadata: metadata, to: path) {
                entry,
                append throws(SwanError) in
                try write(entry, append)
                try checkpoint.requireUnchanged()
            }
        }

        private func write(
            _ entry: Safetensors.Entry,
            _ append: (Tensor) throws(SwanError) -> Void
        ) throws(SwanError) {
            let key = originals[entry.key] ?? entry.key
            let stored = try source.stored(key, entry.shape).inRows()
            let rows = entry.shape.first ?? 0
            guard rows > 0, stored.values.count > 0 else { return try append(stored.values) }
            // Weights with a scale factor, and those in blocks, are converted via float32.
            let rowBytes = max(1, entry.shape.reduce(1, *) / rows * 4)
            let step = max(1, Self.pieceBytes / rowBytes)
            for start in stride(from: 0, to: rows, by: step) {
                let count = min(step, rows - start)
                let part = try stored.rows(start, count)
                let isPlain = part.factor == nil && part.packing == nil
                let weight = try isPlain ? part.values : part.weight(.float32)
                try append(checked(weight, entry, key))
            }
        }

        /// Returns the rows to write; throws if the entry is float16 and they overflow it.
        private func checked(
            _ part: Tensor,
            _ entry: Safetensors.Entry,
            _ key: String
        ) throws(SwanError) -> Tensor {
            guard entry.dtype == .float16, part.dtype != .float16 else { return part }
            let converted = try part.to(.float16)
            guard try converted.isAllFinite() else {
                throw SwanError(
                    .invalidWeights,
                    "\(key) has values that float16 cannot represent; use bfloat16 instead"
                )
            }
            return converted
        }

        /// The sizes of the part; nil if its names are not known.
        func configuration(_ found: Source) throws -> PartConfiguration? {
            guard let names else { return nil }
            return try PartConfiguration(
                names.part,
                found.checkpoint.path,
                config: found.config,
                source.inWanNames()
            )
        }

        /// The file name in the layout, without its extension.
        func fileName(_ configuration: PartConfiguration?) -> String {
            switch (configuration, naming) {
            case (.textEncoder, .diffusers): return "model"
            case (.textEncoder, .original):
                let short: [DType: String] = [.float32: "fp32", .float16: "fp16"]
                let dtype = entries.max { $0.byteCount < $1.byteCount }?.dtype ?? .bfloat16
                return "models_t5_umt5-xxl-enc-\(short[dtype] ?? "bf16")"
            case (.vae(let config), .original):
                return config.isResidual ? "Wan2.2_VAE" : "Wan2.1_VAE"
            case (nil, _): return "model"
            default: return "diffusion_pytorch_model"
            }
        }
    }
}
