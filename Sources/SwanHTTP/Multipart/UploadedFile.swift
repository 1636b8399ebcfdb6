import Crypto
import Foundation
package import HTTPTypes
import NIOPosix
import SwanSystem

/// A file that a client sent, in a folder of the server under a name of the server's. It is removed when it is
/// released, unless it was moved.
package final class UploadedFile: @unchecked Sendable {
    /// Where the file is.
    package let path: String
    private let descriptor: Int32
    // Used by one task at a time.
    private var digest = SHA256()
    private var isMoved = false
    /// The number of bytes so far.
    package private(set) var count = 0

    /// Creates an empty file.
    package init(in folder: String) throws(APIError) {
        let name = (0..<4).map { _ in String(UInt32.random(in: 0...UInt32.max), radix: 36) }
        path = "\(folder)/upload-\(name.joined())"
        descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw Self.failure(errno) }
    }

    deinit {
        close(descriptor)
        if !isMoved { unlink(path) }
    }

    /// Appends bytes. Does not block the caller's thread.
    package func append(_ bytes: [UInt8]) async throws {
        try await NIOThreadPool.singleton.runIfActive { [self] in
            digest.update(data: bytes)
            count += bytes.count
            var written = 0
            while written < bytes.count {
                let result = bytes.withUnsafeBytes { bytes in
                    write(descriptor, bytes.baseAddress.map { $0 + written }, bytes.count - written)
                }
                if result < 0, errno == EINTR { continue }
                guard result > 0 else { throw Self.failure(errno) }
                written += result
            }
        }
    }

    /// The SHA-256 of the bytes so far, in hexadecimal.
    package var checksum: String {
        digest.finalize().map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    /// Gives the file its final name; it is no longer removed.
    package func move(to target: String) throws(APIError) {
        guard rename(path, target) == 0 else { throw Self.failure(errno) }
        isMoved = true
    }

    private static func failure(_ number: Int32) -> APIError {
        let isFull = [ENOSPC, EDQUOT, EFBIG].contains(number)
        return APIError(
            .insufficientStorage,
            "insufficient_storage",
            isFull ? "The server's disk is full." : "The server cannot store the file."
        )
    }
}

extension HTTPResponse.Status {
    /// The server has no room for what it was sent (RFC 4918).
    package static let insufficientStorage = HTTPResponse.Status(
        code: 507,
        reasonPhrase: "Insufficient Storage"
    )
}
