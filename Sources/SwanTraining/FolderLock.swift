import Foundation
package import SwanSystem

/// Keeps a second run out of a folder for as long as it lives; the system lets go of it whatever ends
/// the process.
package final class FolderLock: Sendable {
    private let descriptor: Int32

    /// Throws `SwanError` if the folder is locked already.
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
                    ? "\(path): another training run is at work in it"
                    : "\(path): cannot be locked: \(String(cString: strerror(number)))"
            )
        }
    }

    deinit { close(descriptor) }
}
