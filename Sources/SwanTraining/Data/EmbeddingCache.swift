import Foundation
import SwanMedia
import SwanSystem
package import Torch

/// Embeddings of texts on disk, so that each text is encoded once, in this and in later runs.
///
/// `<folder>/<key>/<digest of the text>.safetensors`: the key is a digest of the files of the
/// encoder and its tokenizer and of how they are used, so what another encoder made is never read.
/// Several processes may use a folder.
package struct EmbeddingCache: Sendable {
    /// The folders that other encoders, or other versions of this one's files, have left.
    package let stale: [String]
    private let folder: String

    private static let tensorName = "embedding"
    private static let checksumsName = "checksums.json"

    /// Opens a folder, which is created if it does not exist.
    ///
    /// - Parameters:
    ///   - files: The files of the encoder and its tokenizer. Their checksums are remembered, and
    ///     computed again if a file has changed.
    ///   - use: What else decides the embeddings, such as a dtype and a maximum length.
    package init(_ path: String, files: [String], use: String) throws {
        do {
            try FileManager.default.createDirectory(
                atPath: path,
                withIntermediateDirectories: true
            )
            let sums = try Self.checksums(of: files, rememberedIn: path)
            let key = try Self.digest((sums + [use]).joined(separator: "\n")).prefix(32)
            folder = "\(path)/\(key)"
            stale = Folder.names(in: path).sorted().filter { name in
                name != key && name.wholeMatch(of: /[0-9a-f]{32}/) != nil
            }.map { "\(path)/\($0)" }
            try FileManager.default.createDirectory(
                atPath: folder,
                withIntermediateDirectories: true
            )
        } catch let error as CocoaError {
            throw SwanError(writing: path, error)
        }
    }

    /// Returns the embedding of a text: that on disk, or what `make` returns, which is then kept.
    ///
    /// - Throws: `invalidData` if the file on disk is damaged, or is of another text.
    package func embedding(of text: String, make: () throws -> Tensor) throws -> Tensor {
        let path = "\(folder)/\(try Self.digest(text)).safetensors"
        guard FileManager.default.fileExists(atPath: path) else {
            let made = try make()
            try SummedFile.write([Self.tensorName: made], metadata: ["text": text], to: path)
            return made
        }
        let remedy = "remove it, and the text is encoded again"
        let file = try SummedFile.open(path, remedy: remedy)
        guard file.metadata["text"] == text, file.keys == [Self.tensorName] else {
            throw SwanError(.invalidData, "\(path): is not the embedding of its text; \(remedy)")
        }
        return try file.tensor(Self.tensorName).cloned()
    }

    // MARK: - Checksums

    /// A file's checksum, and what shows that the file is still the same.
    private struct Remembered: Codable {
        let bytes: Int
        let changed: Double
        let checksum: String
    }

    private static func checksums(of files: [String], rememberedIn path: String) throws -> [String]
    {
        let list = "\(path)/\(checksumsName)"
        var known: [String: Remembered] = [:]
        if FileManager.default.fileExists(atPath: list) {
            // A list that cannot be read costs time, not correctness.
            known =
                (try? JSONDecoder().decode(
                    [String: Remembered].self,
                    from: Data(SmallFile.text(list).utf8)
                )) ?? [:]
        }
        var found: [String: Remembered] = [:]
        for file in files {
            let real = URL(fileURLWithPath: file).resolvingSymlinksInPath().path
            let facts = try FileManager.default.attributesOfItem(atPath: real)
            let bytes = facts[.size] as? Int ?? 0
            let changed = (facts[.modificationDate] as? Date ?? .distantPast)
                .timeIntervalSinceReferenceDate
            if let old = known[real], old.bytes == bytes, old.changed == changed {
                found[real] = old
            } else {
                found[real] = Remembered(
                    bytes: bytes,
                    changed: changed,
                    checksum: try FileDigest.sha256(real)
                )
            }
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        let merged = known.merging(found) { _, new in new }
        try OutputPath.write(encoder.encode(merged), to: list)
        return files.compactMap {
            found[URL(fileURLWithPath: $0).resolvingSymlinksInPath().path]?.checksum
        }
    }

    private static func digest(_ text: String) throws -> String {
        try FileDigest.sha256 { add in Array(text.utf8).withUnsafeBytes(add) }
    }
}
