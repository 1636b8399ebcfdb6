import Glibc

/// Where a file is to be written.
public enum OutputPath {
    /// Throws `cannotCreate`, with the reason, where a file cannot be written; nothing is touched.
    ///
    /// To ask before work that takes long; what is there by then may be another matter.
    public static func requireWritable(_ path: String) throws(MediaError) {
        var status = stat()
        let exists = stat(path, &status) == 0
        if exists, status.st_mode & S_IFMT == S_IFDIR {
            throw MediaError(.cannotCreate, "\(path): is a directory; name a file in it")
        }
        guard !path.isEmpty else { throw PartialFile.failure(path, creating: true, ENOENT) }
        // A file is replaced, which takes place in its folder; a pipe or a device is not.
        let isReplaced = !exists || status.st_mode & S_IFMT == S_IFREG
        let folder = folder(of: exists ? PartialFile.resolved(path) : path)
        guard !exists || access(path, W_OK) == 0, !isReplaced || access(folder, W_OK) == 0 else {
            throw PartialFile.failure(path, creating: true, errno)
        }
    }

    private static func folder(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return String(path[...slash])
    }
}
