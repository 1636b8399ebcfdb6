import Foundation
import SwanDistributed
package import SwanSystem
package import Torch

/// The tensors and metadata of a checkpoint, in one file or in several.
package protocol CheckpointFile {
    /// The path for messages.
    var path: String { get }
    /// The names of the tensors, sorted.
    var keys: [String] { get }
    /// The metadata.
    var metadata: [String: String] { get }
    /// Returns the tensor under a name.
    func tensor(_ name: String) throws(SwanError) -> Tensor
}

extension SafetensorsFile: CheckpointFile {}

/// A checkpoint that several ranks wrote: the parts in which each tensor is cut, and a list of them.
///
/// Part i of n has elements i k ..< (i + 1) k of each tensor in row-major order, k = count / n
/// rounded up. A part's file lies next to the checkpoint's own, which is written last and has a
/// list of all parts with their checksums in its metadata. Reading does not depend on the number of
/// ranks.
struct CheckpointParts: CheckpointFile {
    /// The key of the list in the metadata.
    static let key = "parts"

    private struct List: Codable {
        /// The number of parts that have weights.
        let pieces: Int
        let files: [File]
        /// The shapes of the whole tensors.
        let shapes: [String: [Int]]

        struct File: Codable {
            let name, checksum: String
            /// The number of the part of each tensor; nil if it has none.
            let piece: Int?
        }
    }

    let path: String
    let metadata: [String: String]
    private let list: List
    private let files: [SafetensorsFile]
    /// The files of tensors that are in one part as a whole.
    private let whole: [String: SafetensorsFile]

    /// Opens the parts that a checkpoint's own file lists; nil if that has the tensors itself.
    ///
    /// - Throws: `invalidFile` if a part is missing or truncated, `invalidData` if its contents have
    ///   changed.
    init?(_ file: SafetensorsFile, remedy: String) throws {
        guard let text = file.metadata[Self.key] else { return nil }
        do {
            list = try JSONDecoder().decode(List.self, from: Data(text.utf8))
        } catch {
            throw SwanError(.invalidData, "\(file.path): no list of parts; \(remedy)", cause: error)
        }
        path = file.path
        metadata = file.metadata
        let folder = URL(fileURLWithPath: file.path).deletingLastPathComponent()
        var files: [SafetensorsFile] = []
        var whole: [String: SafetensorsFile] = [:]
        for entry in list.files {
            let part = try Self.open(folder, entry, of: file.path, remedy)
            files.append(part)
            for key in part.keys where key.hasPrefix("carry/") { whole[key] = part }
        }
        self.files = files
        self.whole = whole
    }

    private static func open(
        _ folder: URL,
        _ entry: List.File,
        of path: String,
        _ remedy: String
    ) throws -> SafetensorsFile {
        guard
            PartName(entry.name)?.prefix == URL(fileURLWithPath: prefix(of: path)).lastPathComponent
        else {
            throw SwanError(.invalidData, "\(path): lists a part of another name; \(remedy)")
        }
        let part = folder.appending(path: entry.name).path
        guard FileManager.default.fileExists(atPath: part) else {
            throw SwanError(.invalidFile, "\(part): missing, \(path) lists it")
        }
        let file = try SummedFile.open(part, remedy: remedy)
        guard file.metadata[SummedFile.key] == entry.checksum else {
            throw SwanError(
                .invalidData,
                "\(part): is of another checkpoint than \(path), which lists it; \(remedy)"
            )
        }
        return file
    }

    var keys: [String] { (Array(list.shapes.keys) + whole.keys).sorted() }

    func tensor(_ name: String) throws(SwanError) -> Tensor {
        if let file = whole[name] { return try file.tensor(name) }
        guard let shape = list.shapes[name] else {
            throw SwanError(.invalidData, "\(path): there is no tensor \(name.printable())")
        }
        let count = shape.reduce(1, *)
        var pieces: [Tensor] = []
        for piece in 0..<list.pieces {
            let range = Shard.range(count, of: piece, among: list.pieces)
            guard !range.isEmpty else { continue }
            guard let index = list.files.firstIndex(where: { $0.piece == piece }),
                files[index].entry(name)?.shape == [range.count]
            else {
                throw SwanError(
                    .invalidData,
                    "\(path): part \(piece) of \(list.pieces) of \(name.printable()) is missing or has "
                        + "another size"
                )
            }
            pieces.append(try files[index].tensor(name))
        }
        return try pieces.count == 1
            ? pieces[0].reshaped(shape) : concatenated(pieces).reshaped(shape)
    }

    // MARK: - Writing

    /// Writes this rank's part next to a checkpoint's file; returns the list of all parts when all
    /// are complete.
    static func write(
        _ state: TrainingState,
        _ plan: MicroBatchPlan,
        _ ranks: TrainingRanks,
        to path: String,
        metadata: [String: String]
    ) throws -> String {
        var tensors: [String: Tensor] = [:]
        if let piece = plan.piece {
            for item in state.items {
                let count = item.shape.reduce(1, *)
                let range = Shard.range(count, of: piece.index, among: piece.count)
                guard !range.isEmpty else { continue }
                let start = plan.shards == nil ? range.lowerBound : 0
                tensors[item.name] = try item.tensor.detached().reshaped([-1])
                    .narrowed(0, start, range.count)
            }
        }
        if plan.savesCarry {
            for (key, tensor) in state.carry { tensors["carry/\(key)"] = tensor }
        }
        let name = PartName(
            prefix: URL(fileURLWithPath: prefix(of: path)).lastPathComponent,
            number: ranks.world.rank,
            count: ranks.world.size
        )
        let folder = URL(fileURLWithPath: path).deletingLastPathComponent()
        let own = List.File(
            name: name.text,
            checksum: try SummedFile.write(
                tensors,
                metadata: metadata,
                to: folder.appending(path: name.text).path
            ),
            piece: plan.piece?.index
        )
        // All have written their parts when all have said so.
        let files = try ranks.gathered(values: own)
        let list = List(
            pieces: files.compactMap(\.piece).count,
            files: files,
            shapes: Dictionary(uniqueKeysWithValues: state.items.map { ($0.name, $0.shape) })
        )
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        return String(decoding: try encoder.encode(list), as: UTF8.self)
    }

    /// The path of a checkpoint without its suffix, with which the paths of its parts begin.
    static func prefix(of path: String) -> String { String(path.dropLast(".safetensors".count)) }

    /// The same, from the path of a part; nil if it is none.
    static func prefix(ofPart path: String) -> String? {
        let url = URL(fileURLWithPath: path)
        return PartName(url.lastPathComponent).map { name in
            url.deletingLastPathComponent().appending(path: name.prefix).path
        }
    }
}

/// The file name of a part: step-00000020.part-1-of-4.safetensors.
private struct PartName {
    let prefix: String
    let number, count: Int

    init(prefix: String, number: Int, count: Int) {
        self.prefix = prefix
        self.number = number
        self.count = count
    }

    init?(_ text: String) {
        guard let match = text.wholeMatch(of: /(step-\d+)\.part-(\d+)-of-(\d+)\.safetensors/),
            let number = Int(match.2), let count = Int(match.3)
        else { return nil }
        self.init(prefix: String(match.1), number: number, count: count)
    }

    var text: String { "\(prefix).part-\(number)-of-\(count).safetensors" }
}
