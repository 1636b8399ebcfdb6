import Foundation
import SwanSystem

/// What a job takes of the address space, where that is limited (`ulimit -v`).
public enum AddressSpaceNeeds {
    /// What threads, codecs and the engine's kernels reserve, whatever the model, as measured.
    public static var engine: Int {
        (ProcessInfo.processInfo.environment["SWAN_RESERVE"].flatMap { Int($0) } ?? 300) << 20
    }
}

extension ModelFolder {
    /// Throws where its files cannot be mapped, or so many bytes beside them are refused.
    func requireAddressSpace(beside bytes: Int, _ advice: String) throws(SystemError) {
        guard AddressSpace.free != nil else { return }
        try AddressSpace.require(
            bytes + 2 * fileBytes + AddressSpaceNeeds.engine,
            "free memory or raise the limit; \(advice)"
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
