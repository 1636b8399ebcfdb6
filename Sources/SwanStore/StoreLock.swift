import Glibc
package import SwanSystem

/// An exclusive lock on a model's place in a store. The system releases it when the process ends.
package final class StoreLock: Sendable {
    private let path: String
    private let descriptor: Int32

    /// Takes the lock; nil if another process, or another part of this one, has it. Throws if the
    /// file of the lock cannot be created.
    package init?(_ path: String) throws(SwanError) {
        try StoreFolder.make(Folder.path(of: path))
        let opened = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o666)
        guard opened >= 0 else {
            throw SwanError(
                .cannotWrite,
                "\(path): cannot be created: \(SwanError.reason(errno))"
            )
        }
        guard flock(opened, LOCK_EX | LOCK_NB) == 0 else {
            let number = errno
            close(opened)
            guard number == EWOULDBLOCK else {
                throw SwanError(
                    .cannotWrite,
                    "\(path): cannot be locked: \(SwanError.reason(number))"
                )
            }
            return nil
        }
        // Whoever had the lock may have removed its file: then another process locks another file.
        guard FileIdentity(path) == FileIdentity(descriptor: opened) else {
            close(opened)
            return nil
        }
        // Assigned last: an object that is complete would close it again.
        (self.path, descriptor) = (path, opened)
    }

    /// Releases the lock, and removes its file.
    package func end() { unlink(path) }

    deinit { close(descriptor) }
}

/// Folders of a store.
package enum StoreFolder {
    /// Creates a folder and those above it. Throws `cannotWrite` with the reason.
    package static func make(_ path: String) throws(SwanError) {
        if mkdir(path, 0o777) == 0 || FileIdentity(path)?.isFolder == true { return }
        let number = errno
        let parent = Folder.path(of: path)
        if number == ENOENT, parent != path {
            try make(parent)
            if mkdir(path, 0o777) == 0 || FileIdentity(path)?.isFolder == true { return }
        }
        throw SwanError(
            .cannotWrite,
            "\(path): cannot be created: \(SwanError.reason(number))"
                + "; set SWAN_MODELS to a folder for models"
        )
    }
}
