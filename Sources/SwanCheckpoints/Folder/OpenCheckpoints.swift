package import SwanSystem
import Synchronization
import Torch
package import TorchNN

/// The checkpoints of one model, each opened only once. Headers are read, weights are not.
package final class OpenCheckpoints: Sendable {
    private let opened = Mutex<[String: Checkpoint]>([:])

    package init() {}

    /// Returns the checkpoint at a path, opening it on first use.
    package func open(_ path: String) throws(SwanError) -> Checkpoint {
        if let checkpoint = opened.withLock({ $0[path] }) { return checkpoint }
        let checkpoint = try Checkpoint.open(path)
        opened.withLock { $0[path] = checkpoint }
        return checkpoint
    }
}
