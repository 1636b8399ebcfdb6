import Foundation
import SwanTraining

/// The order in which rows are used: each once an epoch, in an order that depends on the seed and
/// the epoch alone.
package final class EpochOrder: Sendable {
    private let seed: UInt64
    private let count: Int
    private let newest = Newest()

    /// The order of the epoch that was used last.
    private final class Newest: @unchecked Sendable {
        // `lock` protects `order`.
        private let lock = NSLock()
        private var order: (epoch: Int, rows: [Int])?

        func rows(of epoch: Int, make: () -> [Int]) -> [Int] {
            lock.withLock {
                if let order, order.epoch == epoch { return order.rows }
                let rows = make()
                order = (epoch, rows)
                return rows
            }
        }
    }

    /// Creates the order of at least one row.
    package init(seed: UInt64, count: Int) {
        self.seed = seed
        self.count = count
    }

    /// The row of a sample, counted over the whole run.
    package func row(_ sample: Int) -> Int {
        let epoch = sample / count
        let rows = newest.rows(of: epoch) {
            var random = SampleRandom(seed: seed, index: UInt64(epoch), purpose: 17)
            return random.shuffled(Array(0..<count))
        }
        return rows[sample % count]
    }
}
