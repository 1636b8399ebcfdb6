import Glibc

/// A file or folder itself, whatever path leads to it: links and other spellings have the same.
public struct FileIdentity: Hashable, Sendable {
    private let device: dev_t
    private let inode: ino_t
    private let kind: mode_t

    /// What a path leads to, all links followed; nil where there is nothing.
    public init?(_ path: String) {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        self.init(status)
    }

    /// What is open.
    public init?(descriptor: Int32) {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return nil }
        self.init(status)
    }

    private init(_ status: stat) {
        (device, inode, kind) = (status.st_dev, status.st_ino, status.st_mode & S_IFMT)
    }

    /// Whether it has bytes that could be lost: no folder, pipe or device.
    public var isRegularFile: Bool { kind == S_IFREG }

    /// Whether it is a folder.
    public var isFolder: Bool { kind == S_IFDIR }

    /// Whether anything has this name, even a link that leads nowhere.
    public static func isTaken(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0
    }
}
