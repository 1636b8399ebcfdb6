import Foundation
package import SwanSystem
import Synchronization
import Torch

/// A hidden folder for files that are renamed into place once all of them are complete, or that are
/// temporary.
package final class PartialFolder: Sendable {
    private struct State {
        var path: String?
        /// Holds the lock that tells other processes that the folder is in use.
        var descriptor: Int32 = -1
    }

    private let state = Mutex(State())

    /// Creates an instance without a folder.
    package init() {}

    deinit { remove() }

    /// Creates the folder next to `target`, and removes those that killed processes left there.
    package func make(nextTo target: String) throws(SwanError) -> String {
        let url = URL(fileURLWithPath: target)
        let parent = url.deletingLastPathComponent().path
        _ = Leftovers.remove(from: parent)
        for attempt in 0..<1_000 {
            let tag = PartialName.tag(attempt: attempt)
            let path = "\(parent)/.\(url.lastPathComponent).swan-partial-\(tag)"
            // Create and record the folder in one step with respect to `remove`.
            let number: Int32 = state.withLock { state in
                guard UnfinishedFiles.make(path, { mkdir(path, 0o777) }) == 0 else { return errno }
                let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
                if descriptor >= 0 { PartialName.lock(descriptor) }
                state = State(path: path, descriptor: descriptor)
                return 0
            }
            if number == 0 { return path }
            guard number == EEXIST else { throw Self.failed(target, number) }
        }
        throw Self.failed(target, EEXIST)
    }

    /// Renames the folder, or a file in it, to its final name; throws if that name exists by now.
    package func rename(_ path: String, to target: String) throws(SwanError) {
        let number = UnfinishedFiles.name(path) { renameToNewName(path, target) }
        guard number == 0 else { throw Self.failed(target, number) }
    }

    /// Removes the folder and its contents, unless it was renamed to its final name.
    package func remove() {
        let state = state.withLock { state in
            defer { state = State() }
            return state
        }
        guard let path = state.path else { return }
        // Another thread may still be creating files in the folder.
        for _ in 0..<100 where FileIdentity.isTaken(path) {
            do {
                try FileManager.default.removeItem(atPath: path)
            } catch {
                // Retry. The error that ended the work is the one to report, not this one.
            }
        }
        UnfinishedFiles.forget(path)
        if state.descriptor >= 0 { close(state.descriptor) }
    }

    private static func failed(_ target: String, _ number: Int32) -> SwanError {
        let isFull = [ENOSPC, EDQUOT].contains(number)
        return SwanError(
            isFull ? .diskFull : .cannotWrite,
            "\(target): cannot be \(isFull ? "written" : "created"): "
                + SwanError.reason(number)
        )
    }
}
