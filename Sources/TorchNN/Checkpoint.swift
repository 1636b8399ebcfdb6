public import SwanSystem
import Foundation
public import Torch

/// The weights in a file or a set of files, in any supported format.
///
/// The format, the location of the weights and the prefix of their keys are detected: a safetensors
/// file, a `*.safetensors.index.json` with its shards, a PyTorch `.pth`, or a GGUF file.
public struct Checkpoint: WeightSource {
    /// The location of one tensor.
    private enum Location {
        case safetensors(SafetensorsFile, key: String)
        case archive(ArchivedTensor)
        case gguf(GGUFFile, key: String)
    }

    /// The path that was opened.
    public let path: String
    /// The metadata of safetensors files; empty for other files.
    public let metadata: [String: String]
    /// The files with the tensors: the opened one, or the shards of an index.
    public let files: [String]
    /// The problems of an index that can still be read: weights that also occur in other shards.
    public let repeated: [String]
    private let locations: [String: Location]
    /// The same under the names in the files, with prefixes.
    private let unstripped: [String: Location]
    private let opened: [Opened]

    /// An open file.
    private enum Opened {
        case safetensors(SafetensorsFile)
        case archive(TorchArchive)
        case gguf(GGUFFile)
    }

    /// Opens a checkpoint; its tensors are read on demand.
    ///
    /// - Parameter names: The dictionaries in a `.pth` that may hold the weights, in order of
    ///   preference. If none of them exists, the file itself is the dictionary.
    public static func open(
        _ path: String,
        preferring names: [String] = ["generator", "generator_ema", "state_dict"]
    ) throws(SwanError) -> Checkpoint {
        if path.hasSuffix(".json") { return try Checkpoint(index: path) }
        if let shards = ShardNames(path) {
            if let index = shards.index { return try Checkpoint(index: index) }
            return try Checkpoint(shards: shards.all(), names)
        }
        return try Checkpoint(file: path, names)
    }

    private init(file path: String, _ names: [String]) throws(SwanError) {
        switch try WeightFormat.detect(path) {
        case .safetensors: try self.init(safetensors: path)
        case .archive: try self.init(archive: path, names)
        case .gguf: try self.init(gguf: path)
        }
    }

    private init(
        _ path: String,
        _ metadata: [String: String],
        _ found: [String: Location],
        _ opened: [Opened],
        files: [String]? = nil,
        repeated: [String] = []
    ) throws(SwanError) {
        self.path = path
        self.metadata = metadata
        self.opened = opened
        self.files = files ?? [path]
        self.repeated = repeated
        // Names appear in messages: one that is not plain text is rejected before it is printed
        // raw.
        if let odd = found.keys.first(where: { $0.isEmpty || $0.printable() != $0 }) {
            throw SwanError(
                .invalidFile,
                "\(path): the name of a weight must be plain text of 1 to 200 characters, not "
                    + "\"\(odd.printable())\""
            )
        }
        let names = KeyPrefixes.stripped(found.keys)
        var locations: [String: Location] = [:]
        for (key, location) in found {
            let name = names[key] ?? key
            guard locations.updateValue(location, forKey: name) == nil else {
                throw SwanError(
                    .invalidFile,
                    "\(path): more than one weight is named \(name) without prefixes"
                )
            }
        }
        self.locations = locations
        unstripped = found
    }

    private init(safetensors path: String) throws(SwanError) {
        let file = try SafetensorsFile(path: path)
        let locations = file.keys.map { ($0, Location.safetensors(file, key: $0)) }
        try self.init(
            path,
            file.metadata,
            Dictionary(uniqueKeysWithValues: locations),
            [.safetensors(file)]
        )
    }

    private init(gguf path: String) throws(SwanError) {
        let file = try GGUFFile(path: path)
        let locations = file.keys.map { ($0, Location.gguf(file, key: $0)) }
        try self.init(path, [:], Dictionary(uniqueKeysWithValues: locations), [.gguf(file)])
    }

    private init(archive path: String, _ names: [String]) throws(SwanError) {
        let archive = try TorchArchive(path: path)
        for location in names.map({ [$0] }) + [[]] {
            let tensors = archive.tensors(at: location)
            guard !tensors.isEmpty else { continue }
            try self.init(path, [:], tensors.mapValues { .archive($0) }, [.archive(archive)])
            return
        }
        let keys = archive.dictionary()?.keys.sorted().prefix(20).joined(separator: ", ")
        let found = keys.map { $0.printable() } ?? "no dictionary"
        throw SwanError(
            .invalidFile,
            "\(path): contains no weights, neither under \(names.joined(separator: ", ")) nor"
                + " at the top level, which has: \(found)"
        )
    }

    /// The weights whose keys begin with a prefix, under their names without it.
    ///
    /// - Parameter others: Prefixes of keys to leave out.
    package func part(
        under prefix: String,
        without others: [String] = []
    ) throws(SwanError) -> Checkpoint {
        var found: [String: Location] = [:]
        for (key, location) in locations
        where key.hasPrefix(prefix) && key != prefix && !others.contains(where: key.hasPrefix) {
            found[String(key.dropFirst(prefix.count))] = location
        }
        return try Checkpoint(path, metadata, found, opened, files: files, repeated: repeated)
    }

    /// The weights of all shards of a checkpoint that has no index.
    private init(shards paths: [String], _ names: [String]) throws(SwanError) {
        var locations: [String: Location] = [:]
        var opened: [Opened] = []
        for path in paths {
            let shard = try Checkpoint(file: path, names)
            for (key, location) in shard.unstripped {
                guard locations.updateValue(location, forKey: key) == nil else {
                    throw SwanError(
                        .invalidWeights,
                        "\(path): the weight \(key) is also in another shard"
                    )
                }
            }
            opened += shard.opened
        }
        try self.init(paths[0], [:], locations, opened, files: paths)
    }

    private init(index path: String) throws(SwanError) {
        let index = try ShardIndex(path: path)
        try index.requireAll()
        var shards: [String: SafetensorsFile] = [:]
        var locations: [String: Location] = [:]
        for (key, name) in index.weightMap {
            let shard: SafetensorsFile
            if let open = shards[name] {
                shard = open
            } else {
                shard = try index.shard(name)
                shards[name] = shard
            }
            guard shard.entry(key) != nil else {
                throw SwanError(
                    .invalidWeights,
                    "\(path): the weight \(key.printable()) is not in its shard \(name)"
                )
            }
            locations[key] = .safetensors(shard, key: key)
        }
        let files = shards.values.map(\.path).sorted()
        let opened = shards.values.map(Opened.safetensors)
        try self.init(
            path,
            index.metadata(of: shards),
            locations,
            opened,
            files: files,
            repeated: index.repeated(in: shards)
        )
    }
}

// MARK: - Contents

extension Checkpoint {
    /// All keys, without prefixes.
    public var keys: [String] { Array(locations.keys) }

    /// The shape of the tensor under a key; nil if there is no such key.
    public func shape(_ key: String) -> [Int]? {
        switch locations[key] {
        case .safetensors(let file, let key): file.entry(key)?.shape
        case .archive(let tensor): tensor.shape
        case .gguf(let file, let key): file.entry(key)?.shape
        case nil: nil
        }
    }

    /// The dtype under a key as stored in the file, float32 for blocks; nil if there is no such key.
    public func dtype(_ key: String) -> DType? {
        switch locations[key] {
        case .safetensors(let file, let key): file.entry(key)?.dtype
        case .archive(let tensor): tensor.dtype
        case .gguf(let file, let key): file.entry(key)?.dtype
        case nil: nil
        }
    }

    /// The size in the file of the tensor under a key, in bytes; 0 if there is no such key.
    package func byteCount(_ key: String) -> Int {
        if case .gguf(let file, let original) = locations[key] {
            return file.entry(original)?.byteCount ?? 0
        }
        guard let shape = shape(key), let dtype = dtype(key) else { return 0 }
        return shape.reduce(dtype.size, *)
    }

    /// The name of the numbers under a key in reports: the dtype, or the format of blocks.
    package func storage(_ key: String) -> String? {
        guard case .gguf(let file, let original) = locations[key],
            let format = file.entry(original)?.format
        else { return dtype(key).map { "\($0)" } }
        return format.name
    }

    /// The tensor under a key: a view of the file, or computed in float32 from blocks.
    public func tensor(_ key: String, _ shape: [Int]) throws(SwanError) -> Tensor {
        let stored = try stored(key, shape)
        return stored.packing == nil ? stored.values : try stored.weight(.float32)
    }

    /// The same for a computation in `dtype`, to which blocks are converted.
    public func tensor(
        _ key: String,
        _ shape: [Int],
        for dtype: DType
    ) throws(SwanError) -> Tensor {
        let stored = try stored(key, shape)
        return stored.packing == nil ? stored.values : try stored.weight(dtype)
    }

    /// The tensor under a key as a view of the file.
    public func stored(_ key: String, _ shape: [Int]) throws(SwanError) -> StoredWeight {
        switch locations[key] {
        case .safetensors(let file, let key): return StoredWeight(try file.tensor(key))
        case .archive(let tensor): return StoredWeight(try tensor.load())
        case .gguf(let file, let key):
            let values = try file.tensor(key)
            guard let entry = file.entry(key), let format = entry.format else {
                return StoredWeight(values)
            }
            return StoredWeight(values, in: StoredWeight.Packing(format, entry.shape))
        case nil: throw SwanError(.invalidWeights, "\(path): there is no weight \(key)")
        }
    }

    /// The first file if it is a GGUF file, for its metadata; nil for others.
    package var gguf: GGUFFile? {
        guard case .gguf(let file)? = opened.first else { return nil }
        return file
    }

    /// Throws if a file was changed in any way since it was opened.
    public func requireUnchanged() throws(SwanError) {
        for file in opened {
            switch file {
            case .safetensors(let file): try file.requireUnchanged()
            case .archive(let archive): try archive.requireUnchanged()
            case .gguf(let file): try file.requireUnchanged()
            }
        }
    }

    /// Returns the sorted names of the weights that contain a NaN or an infinity. Reads all files.
    public func notFinite() throws(SwanError) -> [String] {
        var broken: [String] = []
        for key in locations.keys.sorted() where try !stored(key, []).isAllFinite() {
            broken.append(key)
        }
        return broken
    }

    /// Whether no element is a NaN or an infinity.
    ///
    /// Float8 elements are checked in parts, since they are widened for it.
    package static func isFinite(_ tensor: Tensor) throws(SwanError) -> Bool {
        let piece = 1 << 24
        guard tensor.dtype.size == 1, tensor.dtype.isFloatingPoint, tensor.count > piece else {
            return try tensor.isAllFinite()
        }
        let flat = try tensor.flattened()
        for start in stride(from: 0, to: flat.count, by: piece) {
            let length = min(piece, flat.count - start)
            guard try flat.narrowed(0, start, length).isAllFinite() else { return false }
        }
        return true
    }

    /// Throws one error that names the weights with a NaN or an infinity. Reads all files.
    public func requireFinite() throws(SwanError) {
        try Self.requireNone(ofBroken: notFinite(), in: path)
    }

    /// Throws one error that names weights of a file that are not finite; nothing if there are none.
    package static func requireNone(
        ofBroken names: [String],
        in path: String
    ) throws(SwanError) {
        guard !names.isEmpty else { return }
        let shown = 12
        var lines = names.map { "  " + $0 }
        if lines.count > shown {
            lines[shown...] = ["  and \(lines.count - shown) more"]
        }
        throw SwanError(
            .invalidWeights,
            "\(path): not finite (NaN or infinite):\n" + lines.joined(separator: "\n")
        )
    }
}
