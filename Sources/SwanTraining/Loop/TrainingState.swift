import SwanDistributed
package import SwanSystem
package import Torch

/// The complete state of a training stage, from which it can be resumed.
package struct TrainingState {
    /// The number of steps done.
    package var step: Int
    /// The trained networks by role.
    package var networks: [String: TrainedNetwork]
    /// Tensors that updates left for later ones.
    package var carry: [String: Tensor]

    /// Creates the state after `step` steps.
    package init(
        step: Int = 0,
        _ networks: [String: TrainedNetwork],
        carry: [String: Tensor] = [:]
    ) {
        self.step = step
        self.networks = networks
        self.carry = carry
    }

    /// The averages of networks of which this rank has a part.
    private var wholeAverages: Networks?

    /// The moving averages of all weights.
    ///
    /// If each rank has a part of them, they are known after `gatherAverages`, on the first rank.
    package var averages: Networks { wholeAverages ?? Networks(networks.mapValues(\.averages)) }

    /// Puts the moving averages of all ranks together on the first rank; all ranks call this.
    mutating func gatherAverages(_ plan: MicroBatchPlan) throws(SwanError) {
        guard plan.shards != nil, let ranks = plan.ranks else { return }
        var found: [String: [String: Tensor]] = [:]
        for (role, network) in networks.sorted(by: { $0.key < $1.key }) {
            found[role] = try network.whole(.averages, keeping: ranks.isFirst)
        }
        wholeAverages = Networks(found)
    }

    /// A tensor of a network or of its optimizer, under its name in checkpoints.
    struct Item {
        let name: String
        let tensor: Tensor
        /// The shape of the whole, of which `tensor` may be a part.
        let shape: [Int]
    }

    /// All tensors of the networks.
    var items: [Item] {
        var items: [Item] = []
        for (role, network) in networks {
            let optimizer = network.optimizer
            for (index, key) in network.keys.enumerated() {
                let shape = network.sharing?.shapes[index] ?? network.parameters[index].shape
                for (group, tensor) in [
                    ("weights", network.parameters[index]),
                    ("averages", optimizer.averages[index]),
                    ("first_moments", optimizer.firstMoments[index]),
                    ("second_moments", optimizer.secondMoments[index]),
                ] {
                    guard let tensor else { continue }
                    items.append(
                        Item(name: "\(role)/\(group)/\(key)", tensor: tensor, shape: shape)
                    )
                }
            }
        }
        return items
    }

    /// Returns the weights for an update of `role`: its own are leaves, the others record nothing.
    func networks(updating role: String) throws(SwanError) -> Networks {
        var weights: [String: [String: Tensor]] = [:]
        var shared: [String: ShardedWeights] = [:]
        for (name, network) in networks {
            var seen = network.weights
            if name != role {
                for (key, parameter) in seen { seen[key] = try parameter.detached() }
            }
            if let sharing = network.sharing {
                let shapes = Dictionary(uniqueKeysWithValues: zip(network.keys, sharing.shapes))
                shared[name] = ShardedWeights(parts: seen, shapes: shapes, sharing.group)
            } else {
                weights[name] = seen
            }
        }
        return Networks(weights, shared: shared)
    }
}

/// How ranks share the weights of a network: each has a part of every weight.
struct WeightSharing: Sendable {
    /// The ranks.
    let group: ProcessGroup
    /// The shapes of the whole weights.
    let shapes: [[Int]]

    /// The elements that this rank has in its part of tensor `index`, without zeros after them.
    func own(of part: Tensor, _ index: Int) throws(SwanError) -> Tensor {
        let count = shapes[index].reduce(1, *)
        return try part.narrowed(
            0,
            0,
            Shard.range(count, of: group.rank, among: group.size).count
        )
    }

    /// The same for all tensors.
    func own(of parts: [Tensor]) throws(SwanError) -> [Tensor] {
        try parts.enumerated().map { index, part throws(SwanError) in try own(of: part, index) }
    }
}

/// The weights of a trained role and the state of its optimizer.
package struct TrainedNetwork {
    /// The keys of the parameters, in the order of all arrays.
    package let keys: [String]
    /// The weights: leaves that require gradients.
    package let parameters: [Tensor]
    /// The optimizer with its moments and averages.
    let optimizer: Optimizer
    /// How the ranks share the weights, if each has a part; `parameters` and the optimizer's tensors
    /// are then parts.
    let sharing: WeightSharing?
    /// The number of updates done.
    package var updates: Int
    /// The updates that were skipped because the gradients were not finite.
    var skipped = SkippedUpdates()
    /// The order of gradients in the backward pass, once it is known.
    var gradientOrder: [Int]?

    /// Creates a network before its first update, with float32 copies of the weights.
    ///
    /// - Parameters:
    ///   - group: The ranks that share the weights; nil if this process has all.
    ///   - learnsByMuon: Whether Muon updates a weight of the given key and shape.
    package init(
        _ weights: [String: Tensor],
        on device: Device = .cpu,
        sharedBy group: ProcessGroup? = nil,
        learnsByMuon: (String, [Int]) -> Bool = { _, _ in false }
    ) throws(SwanError) {
        let keys = weights.keys.sorted()
        let shapes = keys.compactMap { weights[$0]?.shape }
        var parameters: [Tensor] = []
        for key in keys {
            guard let weight = weights[key] else { continue }
            let plain = try weight.detached().to(device, .float32).contiguous()
            let parameter =
                if let group {
                    try Shard.part(of: plain, group.rank, among: group.size)
                } else {
                    try plain.cloned()
                }
            try parameter.setRequiresGrad()
            parameters.append(parameter)
        }
        let muon = keys.indices.filter { learnsByMuon(keys[$0], shapes[$0]) }
        self.keys = keys
        self.parameters = parameters
        sharing = group.map { WeightSharing(group: $0, shapes: shapes) }
        optimizer = try Optimizer(for: parameters, muon: Set(muon))
        updates = 0
    }

    /// Restores a network from an earlier run.
    init(
        keys: [String],
        parameters: [Tensor],
        optimizer: Optimizer,
        sharing: WeightSharing? = nil,
        updates: Int,
        skipped: SkippedUpdates = SkippedUpdates()
    ) {
        self.keys = keys
        self.parameters = parameters
        self.optimizer = optimizer
        self.sharing = sharing
        self.updates = updates
        self.skipped = skipped
    }

    /// The weights or their averages by key, put together of all ranks' parts on the CPU; none if
    /// not kept.
    func whole(_ kind: WeightKind, keeping: Bool) throws(SwanError) -> [String: Tensor] {
        guard let sharing else { return kind == .averages ? averages : weights }
        let parts = kind == .averages ? optimizer.averages : parameters
        var found: [String: Tensor] = [:]
        for (index, key) in keys.enumerated() {
            let whole = try sharing.group.unsharded(parts[index].detached(), as: .float32)
            guard keeping else { continue }
            let shape = sharing.shapes[index]
            found[key] = try whole.narrowed(0, 0, shape.reduce(1, *)).reshaped(shape).to(.cpu)
                .cloned()
        }
        return found
    }

    /// The weights by key.
    package var weights: [String: Tensor] {
        Dictionary(uniqueKeysWithValues: zip(keys, parameters))
    }

    /// The moving averages of the weights by key.
    package var averages: [String: Tensor] {
        Dictionary(uniqueKeysWithValues: zip(keys, optimizer.averages))
    }
}
