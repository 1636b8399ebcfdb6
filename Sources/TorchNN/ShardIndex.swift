import Foundation
import SwanSystem
import Torch

/// The index that maps the weights of a large checkpoint to its shards.
struct ShardIndex {
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
        return try SafetensorsFile(path: shard)
    }

    /// Throws one error that names all shards that are not in the same directory as the index.
    func requireAll() throws(SwanError) {
        let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
        let names = Set(weightMap.values)
        let missing = names.filter { !$0.contains("/") && !FileIdentity.isTaken("\(folder)/\($0)") }
        try ShardNames.requireNone(missing: missing.sorted(), of: names.count, path)
    }
}

/// The names of the files that a large checkpoint is divided into: `name-00001-of-00003.safetensors`.
struct ShardNames {
    private let folder: String
    private let stem: String
    private let count: Int
    private let digits: Int
    private let ending: String

    private static let mostShards = 1_000

    /// Reads the name of one shard; nil for other names.
    init?(_ path: String) {
        let url = URL(fileURLWithPath: path)
        guard
            let parts = url.lastPathComponent.wholeMatch(of: /(.+)-(\d{1,6})-of-(\d{1,6})(\.\w+)/),
            let number = Int(parts.2), let count = Int(parts.3),
            2...Self.mostShards ~= count, 1...count ~= number
        else { return nil }
        // The path as it was given, so that messages name the files as the user does.
        folder = String(path.dropLast(url.lastPathComponent.count))
        stem = String(parts.1)
        self.count = count
        digits = parts.3.count
        ending = String(parts.4)
    }

    /// The path of the index of the shards; nil if there is none.
    var index: String? {
        let path = "\(folder)\(stem)\(ending).index.json"
        return FileIdentity.isTaken(path) ? path : nil
    }

    /// The paths of all shards; throws one error that names those that are missing.
    func all() throws(SwanError) -> [String] {
        let paths = (1...count).map {
            "\(folder)\(stem)-\(padded($0))-of-\(padded(count))\(ending)"
        }
        let missing = paths.filter { !FileIdentity.isTaken($0) }
        let names = missing.map { String($0.dropFirst(folder.count)) }
        try Self.requireNone(missing: names, of: count, paths.first { !missing.contains($0) } ?? "")
        return paths
    }

    private func padded(_ number: Int) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, digits - text.count)) + text
    }

    /// Throws one error that names missing shards; nothing if there are none.
    static func requireNone(
        missing names: [String],
        of count: Int,
        _ path: String
    ) throws(SwanError) {
        guard !names.isEmpty else { return }
        let shown = names.prefix(8).map { $0.printable() }.joined(separator: ", ")
        let more = names.count > 8 ? " and \(names.count - 8) more" : ""
        throw SwanError(
            .invalidModel,
            names.count == 1
                ? "\(path): its shard \(shown) is not in the same directory: download it"
                : "\(path): \(names.count) of its \(count) shards are not in the same directory:"
                    + " \(shown)\(more); download them"
        )
    }
}
