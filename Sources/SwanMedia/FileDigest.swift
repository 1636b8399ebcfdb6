import CMedia
package import SwanSystem

/// Checksums of files and of bytes.
package enum FileDigest {
    /// The SHA-256 of a file's bytes, in hexadecimal.
    package static func sha256(_ path: String) throws(SwanError) -> String {
        var digits = [CChar](repeating: 0, count: 65)
        try calling(path) { error in
            digits.withUnsafeMutableBufferPointer { cm_sha256(path, $0.baseAddress, error) }
        }
        return text(of: digits)
    }

    /// The SHA-256 of the bytes that `body` passes to `add`, in hexadecimal.
    package static func sha256(
        of body: (_ add: (UnsafeRawBufferPointer) -> Void) throws -> Void
    ) throws -> String {
        guard let sum = cm_sha256_begin() else {
            throw SwanError(.outOfMemory, "out of memory for a checksum")
        }
        let result = Result { try body { cm_sha256_add(sum, $0.baseAddress, $0.count) } }
        var digits = [CChar](repeating: 0, count: 65)
        digits.withUnsafeMutableBufferPointer { cm_sha256_end(sum, $0.baseAddress) }
        try result.get()
        return text(of: digits)
    }

    private static func text(of digits: [CChar]) -> String {
        String(decoding: digits.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}
