import CSwanSystem
import Glibc

/// Writes files and checks output paths.
package enum OutputPath {
    /// Throws `cannotWrite` with the reason if a file cannot be written, without creating
    /// anything.
    ///
    /// Use this before long work; the result may be out of date when the work is done.
    ///
    /// - Parameter byteCount: The size of the file, if known; throws `diskFull` if there is no space for it.
    package static func requireWritable(
        _ path: String,
        byteCount: Int = 1
    ) throws(SwanError) {
        var status = stat()
        let exists = stat(path, &status) == 0
        if exists, status.st_mode & S_IFMT == S_IFDIR {
            throw SwanError(.cannotWrite, "\(path): is a directory; specify a file in it")
        }
        guard !path.isEmpty else { throw PartialFile.failure(path, creating: true, ENOENT) }
        // Replacing a file needs access to its folder; pipes and devices are not replaced.
        let isReplaced = !exists || status.st_mode & S_IFMT == S_IFREG
        let folder = Folder.path(of: exists ? PartialFile.resolved(path) : path)
        guard !exists || access(path, W_OK) == 0, !isReplaced || access(folder, W_OK) == 0 else {
            throw PartialFile.failure(path, creating: true, errno)
        }
        guard isReplaced else { return }
        do throws(SwanError) {
            try DiskSpace.require(byteCount, for: path)
        } catch {
            throw SwanError(.diskFull, error.message, cause: error)
        }
    }

    /// Writes a file that appears under its name only when it is complete and synced to disk. Pipes
    /// and devices are written directly.
    ///
    /// - Parameter replaces: Whether an existing file may be replaced; otherwise throws `exists`.
    package static func write(
        _ bytes: some Sequence<UInt8>,
        to path: String,
        replaces: Bool = true
    ) throws(SwanError) {
        let bytes = ContiguousArray(bytes)
        let file = try PartialFile(target: path, replaces: replaces)
        let result = bytes.withUnsafeBytes { bytes in
            Result { () throws(SwanError) in try file.write(bytes) }
        }
        try result.get()
        try file.commit()
    }

    /// Writes all bytes to standard output; throws if the pipe is closed or the disk is full.
    package static func writeToStandardOutput(
        _ bytes: some Sequence<UInt8>
    ) throws(SwanError) {
        let bytes = ContiguousArray(bytes)
        let result = bytes.withUnsafeBytes { bytes in
            Result { () throws(SwanError) in
                try write(bytes, to: STDOUT_FILENO, "standard output")
            }
        }
        try result.get()
    }

    /// Writes all bytes to a descriptor.
    package static func write(
        _ bytes: UnsafeRawBufferPointer,
        to descriptor: Int32,
        _ name: String,
        makeReadable: (UnsafeRawBufferPointer) -> Bool = { _ in false }
    ) throws(SwanError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let piece = UnsafeRawBufferPointer(rebasing: rest)
            var written = 0
            let number = cs_write_all(descriptor, piece.baseAddress, piece.count, &written)
            rest = rest.dropFirst(written)
            guard number == 0 || number == EFAULT && makeReadable(piece) else {
                throw PartialFile.failure(name, creating: false, number)
            }
        }
    }

    /// Syncs the contents of a file, or the names in a folder, to disk.
    ///
    /// Not every file system supports this; without it, only protection from power failures is lost.
    package static func sync(_ path: String) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        fsync(descriptor)
        close(descriptor)
    }

    /// Whether a path is a pipe or a device.
    package static func isWrittenDirectly(_ path: String) -> Bool {
        FileIdentity(path).map { !$0.isRegularFile && !$0.isFolder } ?? false
    }
}
