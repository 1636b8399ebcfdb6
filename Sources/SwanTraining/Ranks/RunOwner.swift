import Foundation
package import SwanDistributed
package import SwanSystem

/// The job that writes a run, which a hidden file in the run's folder names.
///
/// A launcher that restarts its processes after a failure does not change their options: a job
/// continues the run that it has begun, and no other.
package struct RunOwner: Sendable {
    private static let name = ".swan-job"
    private let job: String
    private let isRestarted: Bool

    /// The job of a world; nil for one process, without a name of the job, and on ranks other
    /// than 0.
    package init?(_ world: World?) {
        guard let world, let job = world.job else { return nil }
        self.init(job: job, isRestarted: world.launch.restart > 0)
    }

    init(job: String, isRestarted: Bool) {
        self.job = job
        self.isRestarted = isRestarted
    }

    /// Whether this job was restarted and has begun the run in a folder.
    package func continues(_ folder: String) -> Bool {
        guard isRestarted, let text = try? SmallFile.text("\(folder)/\(Self.name)") else {
            return false
        }
        return text == job
    }

    /// Notes that this job writes the run in a folder.
    package func sign(_ folder: String) throws(SwanError) {
        try OutputPath.write(job.utf8, to: "\(folder)/\(Self.name)")
    }
}
