package import Foundation

/// Reads files that fit in memory: configurations, recipes, prompt lists, tokenizers.
///
/// Throws for files that are not regular or exceed the limit for their kind.
package enum SmallFile {
    /// The maximum size of a configuration, in bytes.
    package static let configuration = 1 << 20
    /// The maximum size of a list of texts or names, in bytes.
    package static let list = 1 << 25

    /// The bytes of a file.
    package static func data(
        _ path: String,
        atMost limit: Int = configuration
    ) throws(SwanError) -> Data {
        try RegularFile(path).bytes(atMost: limit)
    }

    /// The text of a UTF-8 file.
    package static func text(
        _ path: String,
        atMost limit: Int = configuration
    ) throws(SwanError) -> String {
        let mark: [UInt8] = [0xEF, 0xBB, 0xBF]
        var bytes = try data(path, atMost: limit)[...]
        if bytes.starts(with: mark) { bytes = bytes.dropFirst(mark.count) }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw SwanError(.notText, "\(path): is not text (UTF-8)")
        }
        return text
    }
}
