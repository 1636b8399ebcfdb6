import Crypto
import Foundation
import SwanSystem

/// What a source promises about a file's content.
package enum Checksum: Equatable, Hashable, Sendable {
    /// SHA-256, in hexadecimal.
    case sha256(String)
    /// Git's name of a blob: SHA-1 over a header with the size, and the content.
    case gitBlob(String)

    /// The checksum that is written as so many hexadecimal digits; nil for other text.
    static func sha256(hex text: String) -> Checksum? {
        let text = text.lowercased()
        return text.wholeMatch(of: /[0-9a-f]{64}/) == nil ? nil : .sha256(text)
    }

    var text: String {
        switch self {
        case .sha256(let text), .gitBlob(let text): text
        }
    }

    /// The name of the algorithm.
    var kind: String {
        switch self {
        case .sha256: "SHA-256"
        case .gitBlob: "Git blob SHA-1"
        }
    }
}

/// Checksums of bytes that arrive in pieces.
struct ContentHash {
    private var sha256 = SHA256()
    private var blob: Insecure.SHA1?
    /// The number of bytes so far.
    private(set) var count = 0

    /// - Parameter blobSize: The size of the whole content, for Git's checksum too.
    init(blobSize: Int? = nil) {
        guard let blobSize else { return }
        var sum = Insecure.SHA1()
        sum.update(data: Data("blob \(blobSize)\0".utf8))
        blob = sum
    }

    mutating func add(_ bytes: UnsafeRawBufferPointer) {
        sha256.update(bufferPointer: bytes)
        blob?.update(bufferPointer: bytes)
        count += bytes.count
    }

    /// The SHA-256 of the bytes so far, in hexadecimal.
    var digest: String { Self.hex(sha256.finalize()) }

    /// The Git checksum of the bytes so far.
    var blobDigest: String? { (blob?.finalize()).map(Self.hex) }

    /// Whether the bytes so far are what a source promised.
    func matches(_ checksum: Checksum?) -> Bool {
        switch checksum {
        case .sha256(let text): text == digest
        case .gitBlob(let text): text == blobDigest
        case nil: true
        }
    }

    /// The checksum of a text.
    static func ofText(_ text: String) -> String { hex(SHA256.hash(data: Data(text.utf8))) }

    private static func hex(_ bytes: some Sequence<UInt8>) -> String {
        bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    }
}
