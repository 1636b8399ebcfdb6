import CMedia
import Glibc
public import SwanSystem

/// Writes files and checks output paths.
public enum OutputPath {
    /// Throws `cannotWrite` with the reason if a file cannot be written, without creating
    /// anything.
    ///
    /// Use this before long work; the result may be out of date when the work is done.
    public static func requireWritable(_ path: String) throws(SwanError) {
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
            try DiskSpace.require(1, for: path)
        } catch {
            throw SwanError(.diskFull, error.message)
        }
    }

    /// Writes a file that appears under its name only when it is complete and synced to disk. Pipes
    /// and devices are written directly.
    ///
    /// - Parameter replaces: Whether an existing file may be replaced; otherwise throws `exists`.
    public static func write(
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
    public static func writeToStandardOutput(
        _ bytes: some Sequence<UInt8>
    ) throws(SwanError) {
        let bytes = ContiguousArray(bytes)
        let result = bytes.withUnsafeBytes { bytes in
            Result { () throws(SwanError) in
                try calling("standard output") {
                    cm_write_all(STDOUT_FILENO, bytes.baseAddress, bytes.count, $0)
                }
            }
        }
        _ = try result.get()
    }

    /// Whether a path is a pipe or a device.
    public static func isWrittenDirectly(_ path: String) -> Bool {
        FileIdentity(path).map { !$0.isRegularFile && !$0.isFolder } ?? false
    }
}
