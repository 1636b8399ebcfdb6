import Foundation

/// Reads files that fit into memory: configurations, recipes, lists of prompts, tokenizers.
///
/// A file of any other kind than a regular one, or of more bytes than any of its kind has, is an error.
package enum SmallFile {
    /// Bytes of a configuration at most.
    package static let configuration = 1 << 20
    /// Bytes of a list of texts, or of names, at most.
    package static let list = 1 << 25

    /// The bytes of a file.
    package static func data(
        _ path: String,
        atMost limit: Int = configuration
    ) throws(FileError) -> Data {
        try RegularFile(path).bytes(atMost: limit)
    }

    /// The text of a file, which has to be UTF-8.
    package static func text(
        _ path: String,
        atMost limit: Int = configuration
    ) throws(FileError) -> String {
        let mark: [UInt8] = [0xEF, 0xBB, 0xBF]
        var bytes = try data(path, atMost: limit)[...]
        if bytes.starts(with: mark) { bytes = bytes.dropFirst(mark.count) }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw FileError(.notText, "\(path): is not text (UTF-8)")
        }
        return text
    }
}
