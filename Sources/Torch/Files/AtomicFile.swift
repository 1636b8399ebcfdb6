import CTorch
import Foundation

/// A file that appears under its name only when it is complete and on the disk, and otherwise leaves
/// nothing behind.
package struct AtomicFile: ~Copyable {
    private let path: String
    private let partial: String
    private let descriptor: Int32

    /// Opens a file beside `path` to write to.
    package init(path: String) throws(TorchError) {
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
    package borrowing func write(_ bytes: UnsafeRawBufferPointer) throws(TorchError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let piece = UnsafeRawBufferPointer(rebasing: rest)
            let written = Foundation.write(descriptor, piece.baseAddress, piece.count)
            if written < 0 {
                if errno == EINTR { continue }
                // The system does not read on for us behind the end of a mapped file that was cut off;
                // when we do, zeros are put there and the file is known to be damaged.
                if errno == EFAULT {
                    ct_touch(piece.baseAddress, piece.count)
                    continue
                }
                throw Self.failed(path, errno)
            }
            rest = rest.dropFirst(written)
        }
    }

    /// Puts the file in place, on the disk.
    package borrowing func finish() throws(TorchError) {
        guard fsync(descriptor) == 0 else { throw Self.failed(path, errno) }
        guard rename(partial, path) == 0 else { throw Self.failed(path, errno) }
        Self.syncFolder(of: path)
    }

    /// Writes a whole file, which replaces what is there.
    package static func write(_ data: some DataProtocol, to path: String) throws(TorchError) {
        let file = try AtomicFile(path: path)
        for region in data.regions {
            let result = region.withUnsafeBytes { bytes in
                Result { () throws(TorchError) in try file.write(bytes) }
            }
            try result.get()
        }
        try file.finish()
    }

    /// Has the name survive a power cut too. Not every file system can; the contents are safe anyway.
    package static func syncFolder(of path: String) {
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
