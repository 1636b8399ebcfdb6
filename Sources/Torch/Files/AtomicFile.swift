import Foundation

/// A file that appears under its name only when it is complete, and otherwise leaves nothing behind.
struct AtomicFile: ~Copyable {
    private let path: String
    private let partial: String
    private let descriptor: Int32

    /// Opens a file beside `path` to write to.
    init(path: String) throws(TorchError) {
        let partial = "\(path).\(UInt32.random(in: .min ... .max)).partial"
        let descriptor = open(partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw Self.failed(path, errno) }
        self.init(path: path, partial: partial, descriptor: descriptor)
    }

    /// Takes over a file `partial` that is open for writing, to be renamed to `path`.
    init(path: String, partial: String, descriptor: Int32) {
        self.path = path
        self.partial = partial
        self.descriptor = descriptor
    }

    deinit {
        // After `finish` the name is gone and this does nothing.
        unlink(partial)
        close(descriptor)
    }

    /// Appends bytes.
    borrowing func write(_ bytes: UnsafeRawBufferPointer) throws(TorchError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let piece = UnsafeRawBufferPointer(rebasing: rest)
            let written = Foundation.write(descriptor, piece.baseAddress, piece.count)
            if written < 0 {
                if errno == EINTR { continue }
                throw Self.failed(path, errno)
            }
            rest = rest.dropFirst(written)
        }
    }

    /// Puts the file in place, on the disk.
    borrowing func finish() throws(TorchError) {
        guard fsync(descriptor) == 0 else { throw Self.failed(path, errno) }
        guard rename(partial, path) == 0 else { throw Self.failed(path, errno) }
        syncFolder()
    }

    /// Has the name survive a power cut too. Not every file system can; the contents are safe anyway.
    private borrowing func syncFolder() {
        let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        fsync(descriptor)
        close(descriptor)
    }

    private static func failed(_ path: String, _ number: Int32) -> TorchError {
        TorchError(
            number == ENOSPC || number == EDQUOT ? .diskFull : .cannotWrite,
            "\(path): cannot be written: \(String(cString: strerror(number)))"
        )
    }
}
