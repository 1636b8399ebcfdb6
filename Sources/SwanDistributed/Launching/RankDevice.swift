package import SwanSystem
package import Torch

extension Launch {
    /// The device of this rank, which takes the GPUs of its machine in turn unless one is named: ranks
    /// may share a GPU.
    ///
    /// - Parameter name: `auto`, `cpu`, `cuda` or `cuda:N`.
    package func device(named name: String) throws(SwanError) -> Device {
        guard ["auto", "cuda"].contains(name) else { return try Device(named: name) }
        let count = try Engine.gpuCount()
        guard count > 0 else { return try Device(named: name) }
        return try Device(named: "cuda:\(localRank % count)")
    }

    /// The name of the device that this rank has for itself, as groups on GPUs need it: a GPU unless there are too few for the
    /// ranks of its machine, or another device is named.
    ///
    /// - Throws: `deviceUnavailable` if there are too few GPUs and `cuda` is named.
    package func ownDevice(named name: String) throws(SwanError) -> String {
        guard ["auto", "cuda"].contains(name) else { return name }
        let count = try Engine.gpuCount()
        if count >= localSize { return "cuda:\(localRank)" }
        guard name == "cuda" else { return "cpu" }
        throw SwanError(
            .deviceUnavailable,
            "\(localSize) ranks on a machine with \(count) GPUs: each rank needs one; use fewer ranks, "
                + "or --device cpu"
        )
    }
}
