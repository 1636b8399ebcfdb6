package import Foundation
import SwanMedia
import SwanSystem
package import Torch

/// Files of a training run that are told from damaged ones by a checksum.
///
/// One bit that a disk or a copy has changed would go on through all that is trained after it.
package enum SummedFile {
    private static let key = "swan.sha256"

    /// Writes tensors and text with the checksum of both.
    package static func write(
        _ tensors: [String: Tensor],
        metadata: [String: String],
        to path: String
    ) throws {
        // Once for the sum and once for the file.
        let plain = try tensors.mapValues { try $0.detached().to(.cpu).contiguous() }
        var metadata = metadata
        metadata[key] = try sum(plain.keys, metadata) { key in plain[key] }
        try Safetensors.write(plain, metadata: metadata, to: path)
    }

    /// Opens a file whose checksum is right, or that was written before there were any.
    ///
    /// - Parameter remedy: what to do where it is wrong.
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
                // The length before it keeps neighbours apart.
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

    /// Writes a file, and before it its checksum into another, in the form of `sha256sum`.
    package static func write(_ bytes: Data, to path: String, sum sumPath: String) throws {
        let sum = try FileDigest.sha256 { add in bytes.withUnsafeBytes(add) }
        let name = URL(fileURLWithPath: path).lastPathComponent
        try WholeFile.write("\(sum)  \(name)\n".utf8, to: sumPath)
        try WholeFile.write(bytes, to: path)
    }

    /// Throws where a file is not the one that a checksum was written of.
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
            "\(path): damaged, its checksum is not that of what is in it; \(remedy)"
        )
    }
}
