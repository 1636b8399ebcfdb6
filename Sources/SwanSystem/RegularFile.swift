import Foundation

/// A regular file that is open for reading.
///
/// Files that a model or a configuration names come from strangers. Opening a pipe that nobody writes to
/// waits for ever, and a device such as `/dev/zero` has no end: neither is opened.
package struct RegularFile: ~Copyable {
    /// The path, as it was given.
    package let path: String
    /// What the system knows the open file by.
    package let descriptor: Int32
    /// Bytes that it had when it was opened.
    package let count: Int

    /// Opens a file; it has to be a regular one.
    package init(_ path: String) throws(FileError) {
        guard !path.utf8.contains(0) else { throw Self.failed(path, ENOENT) }
        // Without O_NONBLOCK a pipe is waited for before it can be told from a file.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
        // So sockets answer.
        if descriptor < 0, errno == ENXIO { throw Self.notRegular(path, "not a regular file") }
        guard descriptor >= 0 else { throw Self.failed(path, errno) }
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

    /// All of its bytes; an error where there are more than `limit`.
    package borrowing func bytes(atMost limit: Int) throws(FileError) -> Data {
        // The size is no promise: the file may grow, and files of /proc have none.
        var data = Data()
        var piece = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = read(descriptor, &piece, piece.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw Self.failed(path, errno) }
            guard count > 0 else { return data }
            guard data.count + count <= limit else {
                throw FileError(
                    .tooLarge,
                    "\(path): has more than \(limit) bytes, the limit for such a file"
                )
            }
            data.append(contentsOf: piece.prefix(count))
        }
    }

    private static func notRegular(_ path: String, _ what: String) -> FileError {
        FileError(.notRegular, "\(path): is \(what)")
    }

    private static func failed(_ path: String, _ number: Int32) -> FileError {
        FileError(
            number == ENOENT || number == ENOTDIR ? .noSuchFile : .unreadable,
            "\(path): cannot be read: \(String(cString: strerror(number)))"
        )
    }
}
