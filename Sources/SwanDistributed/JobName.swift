import Foundation
import SwanSystem
import Torch

/// What names a job for as long as its launcher restarts it.
enum JobName {
    /// The name of this job; nil if it has none, and on ranks other than 0.
    ///
    /// A launcher's store outlives the ranks, so a name in it does. Otherwise it is torchrun's
    /// `--rdzv-id`, without which that is "none".
    static func find(
        in store: ProcessStore,
        _ launch: Launch,
        _ environment: [String: String]
    ) throws(SwanError) -> String? {
        guard launch.rank == 0 else { return nil }
        guard launch.isServedByLauncher else {
            guard let id = environment["TORCHELASTIC_RUN_ID"], !id.isEmpty, id != "none" else {
                return nil
            }
            return "\(id) \(launch.host)"
        }
        let key = "swan/job"
        if try !store.contains(key) { try store.set(key, UUID().uuidString) }
        return try store.get(key, within: .seconds(10))
    }
}
