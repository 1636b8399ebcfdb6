import SwanSystem

extension Roster {
    /// Throws `deviceUnavailable` unless ranks are all on the CPU, or each on a GPU of its own: NCCL
    /// connects no ranks that share one.
    func requireOwnGPUs(_ ranks: [Int]) throws(SwanError) {
        var owners: [String: Int] = [:]
        var onCPU: Int?
        for rank in ranks {
            guard let entry = entries[safe: rank] else { continue }
            guard entry.device.hasPrefix("cuda") else {
                onCPU = rank
                continue
            }
            let gpu = "\(entry.device) of \(entry.host)"
            if let other = owners.updateValue(rank, forKey: gpu) {
                throw Self.unusable("ranks \(other) and \(rank) share \(gpu)")
            }
        }
        guard let onCPU, let gpu = owners.min(by: { $0.value < $1.value }) else { return }
        throw Self.unusable("rank \(onCPU) computes on a CPU, rank \(gpu.value) on \(gpu.key)")
    }

    private static func unusable(_ what: String) -> SwanError {
        SwanError(
            .deviceUnavailable,
            "\(what); ranks that exchange tensors need a GPU each, or none: use fewer ranks on a "
                + "machine, or --device cpu"
        )
    }
}
