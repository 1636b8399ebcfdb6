import SwanDistributed
import SwanSystem
import Torch

/// The tensors of a checkpoint.
struct CheckpointContents {
    private let file: any CheckpointFile
    private let names: Set<String>
    private let device: Device
    private let plan: MicroBatchPlan

    init(_ file: any CheckpointFile, _ device: Device, _ plan: MicroBatchPlan) {
        self.file = file
        names = Set(file.keys)
        self.device = device
        self.plan = plan
    }

    /// Whether the checkpoint comes from a version without roles.
    var hasNoRoles: Bool {
        !file.metadata.keys.contains { $0.hasPrefix("updates.") }
            && names.contains { $0.hasPrefix("weights/") }
    }

    /// Loads the network whose tensor names start with `prefix`.
    func network(
        _ prefix: String,
        updates: Int,
        skipped: SkippedUpdates = SkippedUpdates()
    ) throws -> TrainedNetwork {
        let weights = prefix + "weights/"
        let keys = file.keys.filter { $0.hasPrefix(weights) }
            .map { String($0.dropFirst(weights.count)) }
        func group(_ name: String) throws(SwanError) -> [Tensor] {
            try keys.map { key throws(SwanError) in try own("\(prefix)\(name)/\(key)") }
        }
        let parameters = try group("weights")
        for parameter in parameters { try parameter.setRequiresGrad() }
        let secondMoments = try keys.map { key in
            let name = "\(prefix)second_moments/\(key)"
            return names.contains(name) ? try own(name) : nil
        }
        return TrainedNetwork(
            keys: keys,
            parameters: parameters,
            optimizer: Optimizer(
                firstMoments: try group("first_moments"),
                secondMoments: secondMoments,
                averages: try group("averages")
            ),
            sharing: try plan.shards.map { group in
                let shapes = try keys.map { key in try file.tensor(weights + key).shape }
                return WeightSharing(group: group, shapes: shapes)
            },
            updates: updates,
            skipped: skipped
        )
    }

    /// Loads the tensors that updates left for later ones, for this process's micro-batches.
    func carry() throws -> [String: Tensor] {
        var carry: [String: Tensor] = [:]
        for name in names where name.hasPrefix("carry/") {
            let key = String(name.dropFirst("carry/".count))
            let part = key.split(separator: "/").first.flatMap { Int($0) }
            if plan.ranks != nil, let part, !plan.own.contains(part) { continue }
            carry[key] = try tensor(name)
        }
        return carry
    }

    /// Returns what this process has of a tensor: a copy.
    private func own(_ name: String) throws(SwanError) -> Tensor {
        guard let group = plan.shards else { return try tensor(name) }
        let whole = try file.tensor(name)
        return try Shard.part(of: whole, group.rank, among: group.size).to(device)
    }

    /// Returns a copy, because training modifies it.
    private func tensor(_ name: String) throws(SwanError) -> Tensor {
        try file.tensor(name).cloned().to(device)
    }
}
