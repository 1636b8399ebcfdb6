import Foundation
import SwanSystem

/// What has arrived of a file. It stays when a download ends, so that another one goes on from there.
final class PartFile {
    let path: String
    private let descriptor: Int32
    /// The number of bytes that have arrived.
    private(set) var count: Int

    /// Opens or creates the file.
    init(_ path: String) throws(SwanError) {
        self.path = path
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o666)
        guard descriptor >= 0 else {
            throw PartialFile.failure(path, creating: true, errno)
        }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw SwanError(.cannotWrite, "\(path): is not a regular file")
        }
        count = Int(status.st_size)
    }

    deinit { close(descriptor) }

    /// Appends bytes; throws `diskFull` if there is no space.
    func append(_ bytes: UnsafeRawBufferPointer) throws(SwanError) {
        guard lseek(descriptor, off_t(count), SEEK_SET) >= 0 else {
            throw PartialFile.failure(path, creating: false, errno)
        }
        try OutputPath.write(bytes, to: descriptor, path)
        count += bytes.count
    }

    /// Forgets what has arrived.
    func empty() throws(SwanError) {
        guard ftruncate(descriptor, 0) == 0 else {
            throw PartialFile.failure(path, creating: false, errno)
        }
        count = 0
    }

    /// Adds all bytes to a checksum; throws `CancellationError` when the task is cancelled.
    func hash(into sum: inout ContentHash) throws {
        try FileHash.add(descriptor, count, path, to: &sum)
    }

    /// Gives the complete file its name, once its content is on the disk.
    func move(to target: String) throws(SwanError) {
        guard fsync(descriptor) == 0 || [EINVAL, EROFS, ENOTSUP].contains(errno) else {
            throw PartialFile.failure(path, creating: false, errno)
        }
        guard rename(path, target) == 0 else {
            throw PartialFile.failure(target, creating: true, errno)
        }
    }

    /// Removes the file.
    func remove() { unlink(path) }
}

/// Checksums of files.
enum FileHash {
    /// The checksums of a file; throws if it cannot be read, or when the task is cancelled.
    static func of(_ path: String) throws -> ContentHash {
        let file = try RegularFile(path)
        var sum = ContentHash()
        try add(file.descriptor, file.count, path, to: &sum)
        return sum
    }

    fileprivate static func add(
        _ descriptor: Int32,
        _ count: Int,
        _ path: String,
        to sum: inout ContentHash
    ) throws {
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        var offset = 0
        while offset < count {
            try Task.checkCancellation()
            let read = pread(descriptor, &buffer, min(buffer.count, count - offset), off_t(offset))
            if read < 0, errno == EINTR { continue }
            guard read > 0 else {
                throw SwanError(.io, "\(path): cannot be read: \(SwanError.reason(errno))")
            }
            buffer.withUnsafeBytes { sum.add(UnsafeRawBufferPointer(rebasing: $0[..<read])) }
            offset += read
        }
    }
}
