import Foundation
package import SwanSystem
import Synchronization
import Torch

/// A hidden folder in which files are made that get their names when all of them are there, or that
/// are of no use afterwards.
package final class PartialFolder: Sendable {
    private struct State {
        var path: String?
        /// Its lock tells others that somebody writes.
        var descriptor: Int32 = -1
    }

    private let state = Mutex(State())

    /// No folder yet.
    package init() {}

    deinit { remove() }

    /// Makes the folder beside `target`, where killed processes may have left theirs.
    package func make(beside target: String) throws(SwanError) -> String {
        let url = URL(fileURLWithPath: target)
        let parent = url.deletingLastPathComponent().path
        _ = Leftovers.remove(from: parent)
        for attempt in 0..<1_000 {
            let tag = PartialName.tag(attempt: attempt)
            let path = "\(parent)/.\(url.lastPathComponent).swan-partial-\(tag)"
            // The folder and the note of it are one to whoever removes it.
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

    /// Gives the folder, or a file in it, its name; what has that name by now stays.
    func rename(_ path: String, to target: String) throws(SwanError) {
        let number = UnfinishedFiles.name(path) { renameToNewName(path, target) }
        guard number == 0 else { throw Self.failed(target, number) }
    }

    /// Removes the folder with all that is in it, if it has not got its name.
    package func remove() {
        let state = state.withLock { state in
            defer { state = State() }
            return state
        }
        guard let path = state.path else { return }
        // Whoever writes may make another file meanwhile.
        for _ in 0..<100 where FileIdentity.isTaken(path) {
            do {
                try FileManager.default.removeItem(atPath: path)
            } catch {
                // Tried again; what ended the work is what is to be told.
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
