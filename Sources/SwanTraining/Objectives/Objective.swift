import Torch

/// What a network is trained for.
protocol Objective: Sendable {
    /// The data of one micro-batch.
    associatedtype Batch: Sendable

    /// The data of a micro-batch; called on data threads.
    func batch(_ place: BatchPlace) throws -> Batch

    /// Whether batches may be made side by side; if not they are made one after the other.
    var hasIndependentBatches: Bool { get }

    /// The loss of a batch for a network of these weights; may be called by several threads at once.
    ///
    /// - Parameter carry: tensors that a micro-batch leaves for the one of the next step in its
    ///   place; they are kept in checkpoints.
    func loss(
        _ batch: Batch,
        _ place: BatchPlace,
        _ parameters: [String: Tensor],
        carry: inout [String: Tensor]
    ) throws -> Loss

    /// Whether a weight is a matrix of a hidden layer, which Muon may change: neither the first layer of
    /// a network nor the last.
    func isHiddenMatrix(_ key: String, _ shape: [Int]) -> Bool

    /// What a network of these weights makes of clips that are always the same; nil where there is
    /// nothing to see. Records nothing for gradients.
    func sample(_ weights: [String: Tensor]) throws -> SampleSheet?
}

extension Objective {
    /// A batch is a function of its place.
    var hasIndependentBatches: Bool { true }

    /// All weights learn by AdamW.
    func isHiddenMatrix(_ key: String, _ shape: [Int]) -> Bool { false }

    /// Nothing to see.
    func sample(_ weights: [String: Tensor]) throws -> SampleSheet? { nil }
}

/// Which micro-batch of a run: the gradients of a step are the mean over its micro-batches.
struct BatchPlace: Sendable, Equatable {
    /// The step, counted from 0.
    let step: Int
    /// The place within the step, and how many there are.
    let part, parts: Int

    /// The only micro-batch of a step.
    init(step: Int) { self.init(step: step, part: 0, of: 1) }

    /// Micro-batch `part` of a step.
    init(step: Int, part: Int, of parts: Int) {
        self.step = step
        self.part = part
        self.parts = parts
    }

    /// Micro-batch `number` of a whole run.
    init(number: Int, parts: Int) {
        self.init(step: number / parts, part: number % parts, of: parts)
    }

    /// Counts all micro-batches of a run: what random numbers are drawn by.
    var number: Int { step * parts + part }

    /// The same place in the step before.
    var before: BatchPlace { BatchPlace(step: step - 1, part: part, of: parts) }
}

/// The number to make small, and numbers to show.
struct Loss {
    /// The one-element tensor whose gradient is followed.
    let total: Tensor
    /// What it consists of, for the progress display: numbers that are read after the step, since to read
    /// one is to wait for the device.
    let parts: [String: Tensor]
}
