package import Torch

/// A way of training: which networks take part, which of them a step changes, and by which losses.
///
/// Training one network on data is a method with one role. Distribution matching has four: a generator,
/// changed every few steps; a critic, changed every step; a frozen teacher and a frozen text encoder.
package protocol Method: Sendable {
    /// The data of one micro-batch, which all updates of a step share.
    associatedtype Batch: Sendable

    /// The networks that take part; progress is shown for the first trained one.
    var roles: [Role] { get }

    /// The updates of step `step`, counted from 0, in the order in which they are done. Each sees the
    /// weights that those before it have changed.
    func updates(at step: Int) -> [Update<Batch>]

    /// Micro-batches of a step, whose mean gradients an update follows.
    var microBatches: Int { get }

    /// Makes the data of a micro-batch; called on data threads.
    func batch(_ place: BatchPlace) throws -> Batch

    /// Whether a batch is a function of its place alone, so that several are made at a time; if not, they
    /// are made one after the other.
    var hasIndependentBatches: Bool { get }

    /// Pictures of what networks of these weights do with data that is always the same. Records nothing for
    /// gradients.
    func samples(_ networks: Networks) throws -> [SampleSheet]
}

extension Method {
    /// Those of the first trained role's optimizer.
    package var microBatches: Int {
        roles.lazy.compactMap(\.training).first?.options.microBatches ?? 1
    }

    /// A batch is a function of its place.
    package var hasIndependentBatches: Bool { true }

    /// No pictures.
    package func samples(_ networks: Networks) throws -> [SampleSheet] { [] }
}

/// A change of one role's weights by the gradient of a loss.
package struct Update<Batch: Sendable>: Sendable {
    /// Computes the loss of a micro-batch; may be called by several threads at once.
    ///
    /// The last parameter holds tensors that a micro-batch leaves for the updates after it in its place, of
    /// this step and of the next. They are kept in checkpoints.
    package typealias LossFunction =
        @Sendable (Batch, BatchPlace, Networks, inout [String: Tensor]) throws -> Loss

    /// The role that it changes.
    package let role: String
    /// The loss whose gradient it follows.
    package let loss: LossFunction

    /// A change of the trained role `role` by the gradient of `loss`.
    package init(of role: String, by loss: @escaping LossFunction) {
        self.role = role
        self.loss = loss
    }
}

/// The weights of a method's trained networks.
///
/// To a loss, those of the role that is updated are leaves that gradients are taken for; those of other
/// roles record nothing.
package struct Networks: Sendable {
    private let weights: [String: [String: Tensor]]

    /// Weights by role and key.
    package init(_ weights: [String: [String: Tensor]]) { self.weights = weights }

    /// The weights of a trained role by their keys; none of a role that is frozen or unknown.
    package subscript(role: String) -> [String: Tensor] { weights[role] ?? [:] }
}

/// The number to make small, and numbers to show.
package struct Loss {
    /// The one-element tensor whose gradient is followed.
    package let total: Tensor
    /// Numbers for the progress display and the curves, by name. They are read after the update, since
    /// reading one waits for the device.
    package let parts: [String: Tensor]

    /// A loss with the numbers to show.
    package init(total: Tensor, parts: [String: Tensor]) {
        self.total = total
        self.parts = parts
    }
}
