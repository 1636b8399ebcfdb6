import Foundation
import Synchronization

/// The hidden files and folders that this process has created but not yet renamed, so that they can be
/// removed if the process exits immediately.
package enum UnfinishedFiles {
    private struct State {
        var paths: Set<String> = []
        var isEnding = false
    }

    private static let state = Mutex(State())

    /// Removes all unfinished files. From then on, threads that create or rename one block until the process
    /// exits.
    package static func remove() {
        state.withLock { state in
            state.isEnding = true
            for path in state.paths where unlink(path) != 0 {
                do {
                    try FileManager.default.removeItem(atPath: path)
                } catch {
                    // It no longer exists, or cannot be removed: the process exits anyway.
                }
            }
        }
    }

    /// Creates a file or folder, and registers it as unfinished.
    ///
    /// - Parameter make: Creates it; on failure, returns a negative number and sets `errno`.
    /// - Returns: The result of `make`.
    package static func make(_ path: String, _ make: () -> Int32) -> Int32 {
        var number: Int32 = 0
        let result = unlessEnding { state in
            let result = make()
            number = errno
            if result >= 0 { state.paths.insert(path) }
            return result
        }
        errno = number
        return result
    }

    /// Renames a file or folder, which is then no longer unfinished.
    ///
    /// - Parameter rename: Renames it; returns 0 or an error number.
    /// - Returns: The result of `rename`.
    package static func name(_ path: String, _ rename: () -> Int32) -> Int32 {
        unlessEnding { state in
            let number = rename()
            if number == 0 { state.paths.remove(path) }
            return number
        }
    }

    /// Unregisters a file or folder that no longer exists.
    package static func forget(_ path: String) {
        state.withLock { _ = $0.paths.remove(path) }
    }

    private static func unlessEnding(_ body: (inout State) -> Int32) -> Int32 {
        let result = state.withLock { $0.isEnding ? nil : body(&$0) }
        guard let result else {
            while true { pause() }
        }
        return result
    }
}
