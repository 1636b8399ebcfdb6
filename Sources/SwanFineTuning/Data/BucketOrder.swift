import Foundation
import SwanTraining

/// The order in which batches are drawn from buckets: each row as often an epoch as it is listed,
/// in an order that depends on the seed and the epoch alone.
package final class BucketOrder: Sendable {
    private let groups: [[Int]]
    private let size: Int
    private let seed: UInt64
    private let newest = Newest()
    /// The number of batches in an epoch.
    package let batches: Int

    /// The order of the epoch that was used last.
    private final class Newest: @unchecked Sendable {
        // `lock` protects `order`.
        private let lock = NSLock()
        private var order: (epoch: Int, batches: [[Int]])?

        func batches(of epoch: Int, make: () -> [[Int]]) -> [[Int]] {
            lock.withLock {
                if let order, order.epoch == epoch { return order.batches }
                let made = make()
                order = (epoch, made)
                return made
            }
        }
    }

    /// Creates the order of batches of `size` rows.
    ///
    /// - Parameter groups: The rows of each bucket; repeated rows come as often. At least one row.
    package init(_ groups: [[Int]], size: Int, seed: UInt64) {
        self.groups = groups.filter { !$0.isEmpty }
        self.size = size
        self.seed = seed
        batches = self.groups.reduce(0) { $0 + ($1.count + size - 1) / size }
    }

    /// The rows of a batch, counted over the whole run. All are of one bucket; the last batch of a
    /// bucket is filled with rows from the beginning of its order.
    package func rows(_ batch: Int) -> [Int] {
        let epoch = batch / batches
        return newest.batches(of: epoch) { epochBatches(epoch) }[batch % batches]
    }

    private func epochBatches(_ epoch: Int) -> [[Int]] {
        var random = SampleRandom(
            seed: seed,
            index: UInt64(epoch),
            purpose: TuningPurpose.order.rawValue
        )
        var made: [[Int]] = []
        for group in groups {
            let rows = random.shuffled(group)
            for start in stride(from: 0, to: rows.count, by: size) {
                made.append((0..<size).map { rows[(start + $0) % rows.count] })
            }
        }
        return random.shuffled(made)
    }
}

/// What random numbers are used for. The raw values are part of the seeds.
enum TuningPurpose: UInt64, Sendable {
    /// The order of batches.
    case order = 101
    /// Timesteps, and which frames stay clean.
    case timesteps = 102
    /// Which prompts are left out.
    case dropout = 103
    /// Which of two transformers a step trains.
    case expert = 104
    /// The noise of a micro-batch.
    case noise = 105
    /// The noise of held-out rows.
    case heldOut = 106
    /// The first leaves of a LoRA.
    case leaves = 107
}
