import Torch

/// What a network is trained for.
protocol Objective: Sendable {
    /// The data of one step.
    associatedtype Batch: Sendable

    /// The data of step `step`; called for one step after the other, on the data thread.
    func batch(step: Int) throws -> Batch

    /// The loss of a batch for a network of these weights.
    ///
    /// - Parameter carry: tensors that one step leaves for the next; they are kept in checkpoints.
    func loss(
        _ batch: Batch,
        step: Int,
        _ parameters: [String: Tensor],
        carry: inout [String: Tensor]
    ) throws -> Loss

    /// What a network of these weights makes of clips that are always the same; nil where there is
    /// nothing to see. Records nothing for gradients.
    func sample(_ weights: [String: Tensor]) throws -> SampleSheet?
}

extension Objective {
    /// Nothing to see.
    func sample(_ weights: [String: Tensor]) throws -> SampleSheet? { nil }
}

/// The number to make small, and numbers to show.
struct Loss {
    /// The one-element tensor whose gradient is followed.
    let total: Tensor
    /// What it consists of, for the progress display.
    let parts: [String: Double]
}
