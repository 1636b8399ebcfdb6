import CMedia

/// Checksums of files.
public enum FileDigest {
    /// The SHA-256 of a file's bytes, in hexadecimal.
    public static func sha256(_ path: String) throws(MediaError) -> String {
        var digits = [CChar](repeating: 0, count: 65)
        try calling(path) { error in
            digits.withUnsafeMutableBufferPointer { cm_sha256(path, $0.baseAddress, error) }
        }
        return String(decoding: digits.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}
