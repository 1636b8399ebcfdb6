import CMedia
import Glibc
import SwanSystem

/// Where a file is to be written.
public enum OutputPath {
    /// Throws `cannotCreate`, with the reason, where a file cannot be written; nothing is touched.
    ///
    /// To ask before work that takes long; what is there by then may be another matter.
    public static func requireWritable(_ path: String) throws(MediaError) {
        var status = stat()
        let exists = stat(path, &status) == 0
        if exists, status.st_mode & S_IFMT == S_IFDIR {
            throw MediaError(.cannotWrite, "\(path): is a directory; name a file in it")
        }
        guard !path.isEmpty else { throw PartialFile.failure(path, creating: true, ENOENT) }
        // A file is replaced, which takes place in its folder; a pipe or a device is not.
        let isReplaced = !exists || status.st_mode & S_IFMT == S_IFREG
        let folder = Folder.path(of: exists ? PartialFile.resolved(path) : path)
        guard !exists || access(path, W_OK) == 0, !isReplaced || access(folder, W_OK) == 0 else {
            throw PartialFile.failure(path, creating: true, errno)
        }
        guard isReplaced else { return }
        do throws(SystemError) {
            try DiskSpace.require(1, for: path)
        } catch {
            throw MediaError(.diskFull, error.message)
        }
    }

    /// Writes a file, under its name only when it is complete and on the disk; a pipe or a device is
    /// written to.
    ///
    /// - Parameter replaces: whether a file of the name may be replaced, `exists` being thrown if not.
    public static func write(
        _ bytes: some Sequence<UInt8>,
        to path: String,
        replaces: Bool = true
    ) throws(MediaError) {
        let bytes = ContiguousArray(bytes)
        let file = try PartialFile(target: path, replaces: replaces)
        let result = bytes.withUnsafeBytes { bytes in
            Result { () throws(MediaError) in try file.write(bytes) }
        }
        try result.get()
        try file.commit()
    }

    /// Writes all bytes to standard output; throws where nobody reads them or the disk is full.
    public static func writeToStandardOutput(
        _ bytes: some Sequence<UInt8>
    ) throws(MediaError) {
        let bytes = ContiguousArray(bytes)
        let result = bytes.withUnsafeBytes { bytes in
            Result { () throws(MediaError) in
                try calling("standard output") {
                    cm_write_all(STDOUT_FILENO, bytes.baseAddress, bytes.count, $0)
                }
            }
        }
        _ = try result.get()
    }

    /// Whether a pipe or a device is at a path.
    public static func isWrittenDirectly(_ path: String) -> Bool {
        FileIdentity(path).map { !$0.isRegularFile && !$0.isFolder } ?? false
    }
}
