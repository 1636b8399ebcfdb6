package import SwanTraining
package import Torch

/// Micro-batches that are never trained on, by which losses are compared over a run: the same data
/// and the same draws each time.
package struct HeldOut<Batch: Sendable>: Sendable {
    private let count: Int
    private let batch: @Sendable (BatchPlace) throws -> Batch

    /// Creates `count` micro-batches.
    package init(_ count: Int, batch: @escaping @Sendable (BatchPlace) throws -> Batch) {
        self.count = count
        self.batch = batch
    }

    /// The means of losses, with "held_out_" before their names.
    package func means(
        _ losses: (Batch, BatchPlace) throws -> [String: Tensor]
    ) throws -> [String: Double] {
        var sums: [String: Double] = [:]
        try withoutGradients {
            for number in 0..<count {
                let place = BatchPlace(step: number)
                for (name, loss) in try losses(batch(place), place) {
                    sums["held_out_" + name, default: 0] += try loss.item()
                }
            }
        }
        return sums.mapValues { $0 / Double(count) }
    }
}
