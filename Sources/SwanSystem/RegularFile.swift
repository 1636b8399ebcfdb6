package import Foundation

/// A regular file that is open for reading.
///
/// Models and configurations are untrusted and may refer to any file. Opening a pipe without a
/// writer would block forever, and a device such as `/dev/zero` never ends, so only regular files
/// are opened.
package struct RegularFile: ~Copyable {
    /// The path as given.
    package let path: String
    /// The file descriptor.
    package let descriptor: Int32
    /// The size in bytes when the file was opened.
    package let count: Int

    /// Opens a file; throws if it is not a regular file.
    package init(_ path: String) throws(SwanError) {
        guard !path.utf8.contains(0) else { throw Self.failed(path, ENOENT) }
        // Without O_NONBLOCK, opening a pipe would block before its type can be checked.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
        // The error for sockets.
        if descriptor < 0, errno == ENXIO { throw Self.notRegular(path, "not a regular file") }
        guard descriptor >= 0 else {
            let number = errno
            guard number == ENOENT, FileIdentity.isTaken(path) else {
                throw Self.failed(path, number)
            }
            throw SwanError(
                .noSuchFile,
                "\(path): is a link to a file that does not exist; if it is in the cache of a download"
                    + " program, download it again"
            )
        }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            let number = errno
            close(descriptor)
            throw Self.failed(path, number)
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            let isFolder = status.st_mode & S_IFMT == S_IFDIR
            throw Self.notRegular(path, isFolder ? "a directory" : "not a regular file")
        }
        self.path = path
        self.descriptor = descriptor
        count = Int(status.st_size)
    }

    deinit { close(descriptor) }

    /// All bytes of the file; throws if there are more than `limit`.
    package borrowing func bytes(atMost limit: Int) throws(SwanError) -> Data {
        // Do not rely on the size: the file may grow, and files in /proc report zero.
        var data = Data()
        var piece = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = read(descriptor, &piece, piece.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw Self.failed(path, errno) }
            guard count > 0 else { return data }
            guard data.count + count <= limit else {
                throw SwanError(
                    .tooLarge,
                    "\(path): exceeds the limit of \(limit) bytes for this kind of file"
                )
            }
            data.append(contentsOf: piece.prefix(count))
        }
    }

    private static func notRegular(_ path: String, _ what: String) -> SwanError {
        SwanError(.notRegular, "\(path): is \(what)")
    }

    private static func failed(_ path: String, _ number: Int32) -> SwanError {
        SwanError(
            number == ENOENT || number == ENOTDIR ? .noSuchFile : .unreadable,
            "\(path): cannot be read: \(String(cString: strerror(number)))"
        )
    }
}
