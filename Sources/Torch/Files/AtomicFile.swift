import CTorch
import Foundation
import SwanSystem

/// A file that appears under its name only when it is complete and on disk, and otherwise leaves
/// nothing behind.
struct AtomicFile: ~Copyable {
    private let path: String
    private let partial: String
    private let descriptor: Int32

    /// Opens a temporary file next to `path` for `bytes` bytes; removes those left behind by killed
    /// processes.
    init(path: String, bytes: Int = 0) throws(SwanError) {
        _ = Leftovers.remove(from: Self.folder(of: path))
        do throws(SwanError) {
            try DiskSpace.require(bytes, for: path)
        } catch {
            throw SwanError(.diskFull, error.message)
        }
        var (partial, descriptor, attempt) = ("", Int32(-1), 0)
        repeat {
            partial = "\(path).\(PartialName.tag(attempt: attempt)).partial"
            descriptor = UnfinishedFiles.make(partial) {
                open(partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
            }
            attempt += 1
        } while descriptor < 0 && errno == EEXIST && attempt < 1_000
        guard descriptor >= 0 else { throw Self.failed(path, errno, creating: true) }
        PartialName.lock(descriptor)
        self.init(path: path, partial: partial, descriptor: descriptor)
    }

    /// Takes ownership of a file `partial` that is open for writing, to be renamed to `path`.
    init(path: String, partial: String, descriptor: Int32) {
        self.path = path
        self.partial = partial
        self.descriptor = descriptor
    }

    deinit {
        // After `finish` the name no longer exists and this has no effect.
        unlink(partial)
        UnfinishedFiles.forget(partial)
        close(descriptor)
    }

    /// Appends bytes.
    borrowing func write(_ bytes: UnsafeRawBufferPointer) throws(SwanError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let piece = UnsafeRawBufferPointer(rebasing: rest)
            let written = Foundation.write(descriptor, piece.baseAddress, piece.count)
            if written < 0 {
                if errno == EINTR { continue }
                // The kernel does not read beyond the end of a truncated mapped file on our behalf;
                // when we touch it ourselves, zeros are mapped there and the file is marked as
                // damaged.
                if errno == EFAULT {
                    ct_touch(piece.baseAddress, piece.count)
                    continue
                }
                throw Self.failed(path, errno)
            }
            rest = rest.dropFirst(written)
        }
    }

    /// Moves the file into place, after syncing it to disk.
    borrowing func finish() throws(SwanError) {
        guard fsync(descriptor) == 0 else { throw Self.failed(path, errno) }
        let number = UnfinishedFiles.name(partial) { rename(partial, path) == 0 ? 0 : errno }
        guard number == 0 else { throw Self.failed(path, number, creating: true) }
        syncFolder()
    }

    /// Makes the new name survive a power failure too. Not every file system supports this; the
    /// contents are safe anyway.
    private borrowing func syncFolder() {
        let descriptor = open(Self.folder(of: path), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        fsync(descriptor)
        close(descriptor)
    }

    private static func folder(of path: String) -> String {
        URL(fileURLWithPath: path).deletingLastPathComponent().path
    }

    private static func failed(
        _ path: String,
        _ number: Int32,
        creating: Bool = false
    ) -> SwanError {
        let isFull = [ENOSPC, EDQUOT, EFBIG].contains(number)
        let doing = creating && !isFull ? "created" : "written"
        return SwanError(
            isFull ? .diskFull : creating ? .cannotWrite : .io,
            "\(path): cannot be \(doing): \(String(cString: strerror(number)))"
        )
    }
}
