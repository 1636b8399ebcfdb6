import Foundation
import Synchronization

/// The hidden files and folders that this process has made and that have not got their names yet, for
/// a process that ends at once.
package enum UnfinishedFiles {
    private struct State {
        var paths: Set<String> = []
        var isEnding = false
    }

    private static let state = Mutex(State())

    /// Removes all of them, and has threads that would make more, or would name one, wait for the end
    /// of the process.
    package static func remove() {
        state.withLock { state in
            state.isEnding = true
            for path in state.paths where unlink(path) != 0 {
                do {
                    try FileManager.default.removeItem(atPath: path)
                } catch {
                    // What has its name by now is not there any more.
                }
            }
        }
    }

    /// Makes a file or a folder.
    ///
    /// - Parameter make: gives a negative number where it fails, and sets `errno`.
    /// - Returns: what `make` gives.
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

    /// Gives a file or a folder its name.
    ///
    /// - Parameter rename: gives an error number, 0 for none.
    /// - Returns: what `rename` gives.
    package static func name(_ path: String, _ rename: () -> Int32) -> Int32 {
        unlessEnding { state in
            let number = rename()
            if number == 0 { state.paths.remove(path) }
            return number
        }
    }

    /// Says that one is not there any more.
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
