import Logging
import SwanCheckpoints

extension ModelFolder {
    /// Warns of the files in the folder that cannot be read and that no part needs.
    func warn(_ log: Logger) {
        for problem in unreadable { log.warning("passed over, since no part needs it: \(problem)") }
    }
}
