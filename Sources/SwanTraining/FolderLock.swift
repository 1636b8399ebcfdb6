import Foundation
package import SwanSystem

/// An exclusive lock on a folder, held for the lifetime of the object. The system releases it when
/// the process ends, however it ends.
package final class FolderLock: Sendable {
    private let descriptor: Int32
    private let path: String

    /// Locks the folder; throws `SwanError` if it is already locked.
    package init(_ path: String) throws(SwanError) {
        self.path = path
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

    /// Removes partial files of a killed process below the folder. Holding the lock ensures that no
    /// other process is writing.
    package func removePartialFiles() throws {
        let root = URL(fileURLWithPath: path, isDirectory: true)
        let files = FileManager.default.enumerator(atPath: path)
        while let file = files?.nextObject() as? String {
            let url = root.appending(path: file)
            let name = url.lastPathComponent
            let isPartial = PartialName(name) != nil || name.hasPrefix(".dat.nosync")
            if isPartial { try FileManager.default.removeItem(at: url) }
        }
    }

    deinit { close(descriptor) }
}
