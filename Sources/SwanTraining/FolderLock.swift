import Foundation
package import SwanSystem

/// An exclusive lock on a folder, held for the lifetime of the object. The system releases it when
/// the process ends, however it ends.
package final class FolderLock: Sendable {
    private let descriptor: Int32

    /// Locks the folder; throws `SwanError` if it is already locked.
    package init(_ path: String) throws(SwanError) {
        descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw SwanError(.cannotWrite, "\(path): \(String(cString: strerror(errno)))")
        }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let number = errno
            close(descriptor)
            throw SwanError(
                .cannotWrite,
                number == EWOULDBLOCK
                    ? "\(path): another training run is using this folder"
                    : "\(path): cannot lock the folder: \(String(cString: strerror(number)))"
            )
        }
    }

    deinit { close(descriptor) }
}
