import Foundation
package import SwanSystem

/// The address space that a job needs, checked where it is limited (`ulimit -v`).
package enum AddressSpaceNeeds {
    /// Bytes reserved by threads, codecs and the engine's kernels, independent of the model:
    /// measured, rounded up.
    package static let engine = 140 << 20

    /// Bytes that a stream reserves for each byte it is known to use: measured, rounded up.
    package static let perStreamByte = 6
}

extension ModelFolder {
    /// Throws if the address space cannot hold the model's mapped files and `bytes` more.
    ///
    /// - Parameters:
    ///   - bytes: The number of bytes needed in addition to the files.
    ///   - copies: The number of copies of the weights in memory.
    ///   - advice: What else the user can do, appended to the error message.
    package func requireAddressSpace(
        inAdditionToFiles bytes: Int,
        copies: Int,
        _ advice: String = ""
    ) throws(SwanError) {
        guard AddressSpace.free != nil else { return }
        try AddressSpace.require(
            bytes + copies * fileBytes + AddressSpaceNeeds.engine,
            "free memory, or raise the limit" + (advice.isEmpty ? "" : ", or " + advice)
        )
    }

    /// The size in bytes of the weights and the tokenizer.
    private var fileBytes: Int {
        Set(parts.values.map(\.data)).reduce(0) { sum, path in
            var status = stat()
            return stat(path, &status) == 0 ? sum + Int(status.st_size) : sum
        }
    }
}
