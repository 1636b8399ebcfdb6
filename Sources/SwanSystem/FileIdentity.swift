import Glibc

/// The identity of a file or folder, which is the same for all paths and links that lead to it.
package struct FileIdentity: Hashable, Sendable {
    private let device: dev_t
    private let inode: ino_t
    private let kind: mode_t

    /// Creates the identity of the file at a path, following links; nil if there is none.
    package init?(_ path: String) {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        self.init(status)
    }

    /// Creates the identity of an open file.
    package init?(descriptor: Int32) {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return nil }
        self.init(status)
    }

    private init(_ status: stat) {
        (device, inode, kind) = (status.st_dev, status.st_ino, status.st_mode & S_IFMT)
    }

    /// Whether it is a regular file, not a folder, pipe or device.
    package var isRegularFile: Bool { kind == S_IFREG }

    /// Whether it is a folder.
    package var isFolder: Bool { kind == S_IFDIR }

    /// Whether a path exists, including as a broken link.
    package static func isTaken(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0
    }
}
