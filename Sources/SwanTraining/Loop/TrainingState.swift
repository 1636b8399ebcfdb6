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

    /// The moving averages of all weights.
    package var averages: Networks { Networks(networks.mapValues(\.averages)) }

    /// Returns the weights for an update of `role`: its own are leaves, the others record nothing.
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

/// The weights of a trained role and the state of its optimizer.
package struct TrainedNetwork {
    /// The keys of the parameters, in the order of all arrays.
    package let keys: [String]
    /// The weights: leaves that require gradients.
    package let parameters: [Tensor]
    /// The optimizer with its moments and averages.
    let optimizer: Optimizer
    /// The number of updates done.
    package var updates: Int

    /// Creates a network before its first update, with float32 copies of the weights.
    ///
    /// - Parameter learnsByMuon: Whether Muon updates a weight of the given key and shape.
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

    /// Restores a network from an earlier run.
    init(keys: [String], parameters: [Tensor], optimizer: Optimizer, updates: Int) {
        self.keys = keys
        self.parameters = parameters
        self.optimizer = optimizer
        self.updates = updates
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
