package import Foundation
import SwanMedia
import SwanSystem
package import Torch

/// Files of a training run with a checksum that detects corruption.
///
/// A single bit flipped by a disk or a copy would affect everything trained afterwards.
package enum SummedFile {
    /// The name of the checksum in a file's metadata.
    static let key = "swan.sha256"

    /// Writes tensors and metadata with a checksum of both, which it returns.
    @discardableResult
    package static func write(
        _ tensors: [String: Tensor],
        metadata: [String: String],
        to path: String
    ) throws -> String {
        // Once for the checksum and once for the file.
        let plain = try tensors.mapValues { try $0.detached().to(.cpu).contiguous() }
        var metadata = metadata
        let digest = try sum(plain.keys, metadata) { key in plain[key] }
        metadata[key] = digest
        try Safetensors.write(plain, metadata: metadata, to: path)
        return digest
    }

    /// Opens a file and verifies its checksum; files from versions without checksums are accepted.
    ///
    /// - Parameter remedy: What to do if the checksum is wrong, for the error message.
    package static func open(_ path: String, remedy: String) throws -> SafetensorsFile {
        let file = try SafetensorsFile(path: path)
        guard let expected = file.metadata[key] else { return file }
        let found = try sum(file.keys, file.metadata) { try file.tensor($0) }
        guard found == expected else { throw damaged(path, remedy) }
        return file
    }

    private static func sum(
        _ keys: some Collection<String>,
        _ metadata: [String: String],
        _ tensor: (String) throws -> Tensor?
    ) throws -> String {
        try FileDigest.sha256 { add in
            func put(_ text: String) {
                // The length prefix keeps adjacent texts distinct.
                Array("\(text.utf8.count) \(text)".utf8).withUnsafeBytes(add)
            }
            for (name, value) in metadata.sorted(by: { $0.key < $1.key }) where name != key {
                put(name)
                put(value)
            }
            for name in keys.sorted() {
                guard let tensor = try tensor(name) else { continue }
                put(name)
                put("\(tensor.dtype) \(tensor.shape)")
                try tensor.withUnsafeBytes { add(UnsafeRawBufferPointer($0)) }
            }
        }
    }

    // MARK: - Other files

    /// Writes a file, preceded by a second file with its checksum in the format of `sha256sum`.
    package static func write(_ bytes: Data, to path: String, sum sumPath: String) throws {
        let sum = try FileDigest.sha256 { add in bytes.withUnsafeBytes(add) }
        let name = URL(fileURLWithPath: path).lastPathComponent
        try OutputPath.write("\(sum)  \(name)\n".utf8, to: sumPath)
        try OutputPath.write(bytes, to: path)
    }

    /// Throws if a file does not match its checksum file.
    package static func verify(_ path: String, sum sumPath: String, remedy: String) throws {
        guard FileManager.default.fileExists(atPath: sumPath) else { return }
        let text = try SmallFile.text(sumPath)
        guard text.hasPrefix(try FileDigest.sha256(path) + " ") else {
            throw damaged(path, remedy)
        }
    }

    private static func damaged(_ path: String, _ remedy: String) -> SwanError {
        SwanError(
            .invalidData,
            "\(path): damaged, its contents do not match its checksum; \(remedy)"
        )
    }
}
