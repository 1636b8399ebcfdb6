package import SwanDistributed
package import Torch
package import TorchNN

/// A training method: which networks take part, which of them each step updates, and by which
/// losses.
///
/// Training one network on data is a method with one role. Distribution matching has four: a
/// generator, updated every few steps; a critic, updated every step; a frozen teacher; and a frozen
/// text encoder.
package protocol Method: Sendable {
    /// The data of one micro-batch, shared by all updates of a step.
    associatedtype Batch: Sendable

    /// The networks that take part; progress is reported for the first trained one.
    var roles: [Role] { get }

    /// Returns the updates of step `step` (counted from 0), in the order in which they run. Each
    /// update sees the weights as changed by the previous ones.
    func updates(at step: Int) -> [Update<Batch>]

    /// The number of micro-batches in a step; an update uses the mean of their gradients.
    var microBatches: Int { get }

    /// Prepares the data of a micro-batch; called on data threads.
    func batch(_ place: BatchPlace) throws -> Batch

    /// Whether a batch depends only on its position, so that several can be prepared concurrently.
    /// If false, they are prepared one after another.
    var hasIndependentBatches: Bool { get }

    /// Whether the ranks of a sequence compute parts of its losses' gradients, which add up to the
    /// whole; otherwise each computes all of them.
    var dividesTokens: Bool { get }

    /// Whether its losses read trained weights by `Networks.weights`, so that ranks can keep a part
    /// of each.
    var sharesWeights: Bool { get }

    /// Draws sheets of what networks with these weights do with fixed data. Records nothing for
    /// gradients.
    func samples(_ networks: Networks) throws -> [SampleSheet]

    /// The same, for a method whose samples are also files named after a step.
    func samples(_ networks: Networks, after step: Int) throws -> [SampleSheet]

    /// Measures networks with these weights on data that is held out, by name, for the curves; called
    /// when samples are drawn. Records nothing for gradients.
    func measures(_ networks: Networks) throws -> [String: Double]
}

extension Method {
    /// The value from the options of the first trained role's optimizer.
    package var microBatches: Int {
        roles.lazy.compactMap(\.training).first?.options.microBatches ?? 1
    }

    /// Batches depend only on their position.
    package var hasIndependentBatches: Bool { true }

    /// No division.
    package var dividesTokens: Bool { false }

    /// Every rank keeps all weights.
    package var sharesWeights: Bool { false }

    /// No sheets.
    package func samples(_ networks: Networks) throws -> [SampleSheet] { [] }

    /// Those of `samples`.
    package func samples(_ networks: Networks, after step: Int) throws -> [SampleSheet] {
        try samples(networks)
    }

    /// No measures.
    package func measures(_ networks: Networks) throws -> [String: Double] { [:] }
}

/// An update of one role's weights by the gradient of a loss.
package struct Update<Batch: Sendable>: Sendable {
    /// Computes the loss of a micro-batch; may be called on several threads concurrently.
    ///
    /// The last parameter holds tensors that a micro-batch leaves for later updates at the same
    /// position, in this step and the next. They are saved in checkpoints.
    package typealias LossFunction =
        @Sendable (Batch, BatchPlace, Networks, inout [String: Tensor]) throws -> Loss

    /// The role whose weights are updated.
    package let role: String
    /// The loss that is minimized.
    package let loss: LossFunction

    /// Creates an update of the trained role `role` by the gradient of `loss`.
    package init(of role: String, by loss: @escaping LossFunction) {
        self.role = role
        self.loss = loss
    }
}

/// The weights of a method's trained networks.
///
/// Inside a loss, the weights of the role being updated are leaves that require gradients; those of
/// the other roles record nothing.
package struct Networks: Sendable {
    private let weights: [String: [String: Tensor]]
    private let shared: [String: ShardedWeights]

    /// Creates networks from weights by role and key.
    ///
    /// - Parameter shared: The weights of roles of which each rank has a part.
    package init(
        _ weights: [String: [String: Tensor]],
        shared: [String: ShardedWeights] = [:]
    ) {
        self.weights = weights
        self.shared = shared
    }

    /// The weights of a trained role by key; empty if the role is frozen or unknown, or if each rank
    /// has a part of its weights.
    package subscript(role: String) -> [String: Tensor] { weights[role] ?? [:] }

    /// The weights of a trained role as those of a network that computes in a precision.
    ///
    /// If each rank has a part of them, layers are read late: build and run the network in the same
    /// order on all ranks, with its layers recomputed.
    package func weights(_ role: String, _ precision: Precision? = nil) -> Weights {
        guard let source = shared[role] else {
            return Weights(leaves: self[role], precision)
        }
        return Weights(
            source,
            dtype: (precision ?? .float32).dtype,
            device: source.device,
            readsLayersLate: true
        )
    }
}

/// A loss to minimize, and values to report.
package struct Loss {
    /// A one-element tensor to minimize.
    package let total: Tensor
    /// Values for the progress display and the curves, by name. They are read after the update,
    /// because reading one waits for the device.
    package let parts: [String: Tensor]

    /// Creates a loss with the values to report.
    package init(total: Tensor, parts: [String: Tensor]) {
        self.total = total
        self.parts = parts
    }
}
