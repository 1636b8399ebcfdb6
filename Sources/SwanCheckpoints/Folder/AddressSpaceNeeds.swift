import Foundation
package import SwanSystem

/// What a job takes of the address space, where that is limited (`ulimit -v`).
public enum AddressSpaceNeeds {
    /// What threads, codecs and the engine's kernels reserve, whatever the model: as measured, rounded up.
    public static let engine = 140 << 20

    /// What a stream reserves for each byte that it is known to use: as measured, rounded up.
    package static let perStreamByte = 6
}

extension ModelFolder {
    /// Throws where its files cannot be mapped, or so many bytes beside them are refused.
    ///
    /// - Parameter copies: how often the weights are in memory.
    package func requireAddressSpace(
        beside bytes: Int,
        copies: Int,
        _ advice: String = ""
    ) throws(SwanError) {
        guard AddressSpace.free != nil else { return }
        try AddressSpace.require(
            bytes + copies * fileBytes + AddressSpaceNeeds.engine,
            "free memory, or raise the limit" + (advice.isEmpty ? "" : ", or " + advice)
        )
    }

    /// Bytes of its weights and of its tokenizer.
    private var fileBytes: Int {
        parts.values.reduce(0) { sum, files in
            var status = stat()
            return stat(files.data, &status) == 0 ? sum + Int(status.st_size) : sum
        }
    }
}
