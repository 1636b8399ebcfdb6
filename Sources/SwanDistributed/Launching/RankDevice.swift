package import SwanSystem
package import Torch

extension Launch {
    /// The device of this rank: the ranks of a machine share its GPUs in turn unless one is named.
    ///
    /// - Parameter name: `auto`, `cpu`, `cuda` or `cuda:N`.
    package func device(named name: String) throws(SwanError) -> Device {
        guard ["auto", "cuda"].contains(name) else { return try Device(named: name) }
        let count = try Engine.gpuCount()
        guard count > 0 else { return try Device(named: name) }
        return try Device(named: "cuda:\(localRank % count)")
    }
}
