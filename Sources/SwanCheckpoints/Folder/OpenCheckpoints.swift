package import SwanSystem
import Synchronization
import Torch
package import TorchNN

/// The checkpoints of one model, each opened only once. Headers are read, weights are not.
package final class OpenCheckpoints: Sendable {
    private struct State {
        var files: [String: Checkpoint] = [:]
        var sections: [String: CheckpointSections] = [:]
        var parts: [ModelFolder.Files: Checkpoint] = [:]
    }

    private let opened = Mutex(State())

    package init() {}

    /// Returns the checkpoint at a path, opening it on first use.
    package func open(_ path: String) throws(SwanError) -> Checkpoint {
        if let checkpoint = opened.withLock({ $0.files[path] }) { return checkpoint }
        let checkpoint = try Checkpoint.open(path)
        opened.withLock { $0.files[path] = checkpoint }
        return checkpoint
    }

    /// Returns the weights of a part: those of its file, or of its section of one.
    package func open(_ files: ModelFolder.Files) throws(SwanError) -> Checkpoint {
        guard let prefix = files.section else { return try open(files.data) }
        if let part = opened.withLock({ $0.parts[files] }) { return part }
        let part = try sections(files.data).part(under: prefix, of: open(files.data))
        opened.withLock { $0.parts[files] = part }
        return part
    }

    /// The parts that the file at a path contains.
    func sections(_ path: String) throws(SwanError) -> CheckpointSections {
        if let sections = opened.withLock({ $0.sections[path] }) { return sections }
        let sections = try CheckpointSections(open(path))
        opened.withLock { $0.sections[path] = sections }
        return sections
    }
}
