public import SwanSystem
import Foundation
public import Torch

/// The weights in a file or a set of files, in any supported format.
///
/// The format, the location of the weights and the prefix of their keys are detected: a safetensors
/// file, a `*.safetensors.index.json` with its shards, or a PyTorch `.pth`.
public struct Checkpoint: WeightSource {
    /// The location of one tensor.
    private enum Location {
        case safetensors(SafetensorsFile, key: String)
        case archive(ArchivedTensor)
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
    private let opened: [Opened]

    /// An open file.
    private enum Opened {
        case safetensors(SafetensorsFile)
        case archive(TorchArchive)
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
        return try TorchArchive.isArchive(path)
            ? Checkpoint(archive: path, names) : Checkpoint(safetensors: path)
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

    private init(index path: String) throws(SwanError) {
        let index = try ShardIndex(path: path)
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
        case nil: nil
        }
    }

    /// The dtype under a key as stored in the file; nil if there is no such key.
    public func dtype(_ key: String) -> DType? {
        switch locations[key] {
        case .safetensors(let file, let key): file.entry(key)?.dtype
        case .archive(let tensor): tensor.dtype
        case nil: nil
        }
    }

    /// The tensor under a key, as a view of the file.
    public func tensor(_ key: String, _ shape: [Int]) throws(SwanError) -> Tensor {
        switch locations[key] {
        case .safetensors(let file, let key): try file.tensor(key)
        case .archive(let tensor): try tensor.load()
        case nil: throw SwanError(.invalidWeights, "\(path): there is no weight \(key)")
        }
    }

    /// Throws if a file was changed in any way since it was opened.
    public func requireUnchanged() throws(SwanError) {
        for file in opened {
            switch file {
            case .safetensors(let file): try file.requireUnchanged()
            case .archive(let archive): try archive.requireUnchanged()
            }
        }
    }

    /// Returns the sorted names of the weights that contain a NaN or an infinity. Reads all files.
    public func notFinite() throws(SwanError) -> [String] {
        var broken: [String] = []
        for key in locations.keys.sorted() {
            let tensor = try tensor(key, [])
            if try !Self.isFinite(tensor) { broken.append(key) }
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

/// The index that maps the weights of a large checkpoint to its shards.
private struct ShardIndex {
    let weightMap: [String: String]
    private let path: String

    private static let mostWeights = 250_000
    private static let longestName = 2_000

    init(path: String) throws(SwanError) {
        let data: Data
        do {
            data = try SmallFile.data(path, atMost: SmallFile.list)
        } catch {
            throw SwanError(reading: error)
        }
        let json: StrictJSON
        do {
            let read = data.withUnsafeBytes { bytes in
                Result { () throws(StrictJSON.Failure) in
                    try StrictJSON.read(bytes, atMost: 2 * Self.mostWeights)
                }
            }
            json = try read.get()
        } catch {
            throw Self.failed(path, "damaged at byte \(error.offset): \(error.what)")
        }
        guard case .object(let members) = json,
            case .object(let weights)? = members.first(where: { $0.key == "weight_map" })?.value
        else { throw Self.failed(path, "weight_map is missing") }
        var map: [String: String] = [:]
        for (key, value) in weights {
            guard case .string(let name) = value, key.utf8.count <= Self.longestName else {
                throw Self.failed(
                    path,
                    "\(key.printable()) does not map the name of a weight to a file name"
                )
            }
            map[key] = name
        }
        guard map.count <= Self.mostWeights else {
            throw Self.failed(path, "weight_map has more than \(Self.mostWeights) weights")
        }
        self.path = path
        weightMap = map
    }

    private static func failed(_ path: String, _ what: String) -> SwanError {
        SwanError(.invalidFile, "\(path): is not an index of shards: \(what)")
    }

    /// The metadata that is the same in all shards.
    func metadata(of shards: [String: SafetensorsFile]) -> [String: String] {
        guard let first = shards.values.first?.metadata else { return [:] }
        return first.filter { pair in
            shards.values.allSatisfy { $0.metadata[pair.key] == pair.value }
        }
    }

    /// The weights that occur in shards other than the one that the index names.
    func repeated(in shards: [String: SafetensorsFile]) -> [String] {
        shards.sorted { $0.key < $1.key }.flatMap { name, shard in
            shard.keys.compactMap { key in
                guard let taken = weightMap[key], taken != name else { return nil }
                return "\(key): is also in \(name); the index takes it from \(taken)"
            }
        }
    }

    /// Opens a shard, which is in the same directory as the index.
    func shard(_ name: String) throws(SwanError) -> SafetensorsFile {
        guard !name.contains("/"), name.hasSuffix(".safetensors"), name == name.printable() else {
            throw SwanError(
                .invalidFile,
                "\(path): \(name.printable()) is not a safetensors file name in its directory"
            )
        }
        let shard = URL(fileURLWithPath: path).deletingLastPathComponent()
            .appendingPathComponent(name).path
        do {
            return try SafetensorsFile(path: shard)
        } catch  where error.code == .noSuchFile {
            throw SwanError(.noSuchFile, "\(path): its shard \(name) is not in the same directory")
        }
    }
}
