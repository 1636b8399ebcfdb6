import SwanDistributed
import SwanSystem
import Torch

extension Ranks {
    /// The device that this rank computes on: with `auto` and `cuda` each rank of a machine has a GPU
    /// of its own.
    ///
    /// - Parameter name: What users asked for.
    /// - Throws: `deviceUnavailable` if there are fewer GPUs than ranks and users asked for GPUs.
    static func device(_ name: String) throws(SwanError) -> String {
        guard let launch = try launch, name == "auto" || name == "cuda" else { return name }
        let count = try Engine.gpuCount()
        if count >= launch.localSize { return "cuda:\(launch.localRank)" }
        guard name == "cuda" else { return "cpu" }
        throw SwanError(
            .deviceUnavailable,
            "\(launch.localSize) ranks on a machine with \(count) GPUs: each rank needs one; use fewer "
                + "ranks, or --device cpu"
        )
    }
}
