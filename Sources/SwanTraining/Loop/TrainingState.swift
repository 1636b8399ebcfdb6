package import SwanSystem
package import Torch

/// All that a stage of training needs to go on.
package struct TrainingState {
    /// Steps done.
    package var step: Int
    /// The trained networks by role.
    package var networks: [String: TrainedNetwork]
    /// What updates left for those after them.
    package var carry: [String: Tensor]

    /// A state after `step` steps.
    package init(
        step: Int = 0,
        _ networks: [String: TrainedNetwork],
        carry: [String: Tensor] = [:]
    ) {
        self.step = step
        self.networks = networks
        self.carry = carry
    }

    /// The moving averages of all weights.
    package var averages: Networks { Networks(networks.mapValues(\.averages)) }

    /// The weights for an update of `role`: its own are leaves, others record nothing.
    func networks(updating role: String) throws(SwanError) -> Networks {
        var weights: [String: [String: Tensor]] = [:]
        for (name, network) in networks {
            var seen = network.weights
            if name != role {
                for (key, parameter) in seen { seen[key] = try parameter.detached() }
            }
            weights[name] = seen
        }
        return Networks(weights)
    }
}

/// The weights of a trained role, and what its optimizer knows of them.
package struct TrainedNetwork {
    /// The names of the parameters, in the order of all arrays.
    package let keys: [String]
    /// The weights, leaves that gradients are taken for.
    package let parameters: [Tensor]
    /// The optimizer with its moments and averages.
    let optimizer: Optimizer
    /// Updates done.
    package var updates: Int

    /// A network before its first update: float32 copies of its weights.
    ///
    /// - Parameter learnsByMuon: says of a key and its weight's shape whether Muon changes it.
    package init(
        _ weights: [String: Tensor],
        on device: Device = .cpu,
        learnsByMuon: (String, [Int]) -> Bool = { _, _ in false }
    ) throws(SwanError) {
        let keys = weights.keys.sorted()
        var parameters: [Tensor] = []
        for key in keys {
            guard let weight = weights[key] else { continue }
            let parameter = try weight.detached().to(device, .float32).contiguous().cloned()
            try parameter.setRequiresGrad()
            parameters.append(parameter)
        }
        let muon = keys.indices.filter { learnsByMuon(keys[$0], parameters[$0].shape) }
        self.keys = keys
        self.parameters = parameters
        optimizer = try Optimizer(for: parameters, muon: Set(muon))
        updates = 0
    }

    /// A network as an earlier run left it.
    init(keys: [String], parameters: [Tensor], optimizer: Optimizer, updates: Int) {
        self.keys = keys
        self.parameters = parameters
        self.optimizer = optimizer
        self.updates = updates
    }

    /// The weights under their keys.
    package var weights: [String: Tensor] {
        Dictionary(uniqueKeysWithValues: zip(keys, parameters))
    }

    /// The moving average of the weights under their keys.
    package var averages: [String: Tensor] {
        Dictionary(uniqueKeysWithValues: zip(keys, optimizer.averages))
    }
}
