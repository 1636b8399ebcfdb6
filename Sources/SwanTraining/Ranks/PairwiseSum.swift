import SwanSystem
import Torch

private let addOp = Operator("aten::_foreach_add_", "List")

/// The sum of sets of gradients in pairs of neighbours: ((0 + 1) + (2 + 3)) + ((4 + 5) + 6).
///
/// Its bits are the same if aligned runs of a power of two of the sets are summed elsewhere. It
/// keeps as many sets as the number of them has bits.
struct PairwiseSum: Sendable {
    /// Sums of runs of 2^level sets, the longest first.
    private var runs: [(level: Int, sum: [Tensor])] = []

    /// Adds a set, whose tensors are overwritten.
    mutating func add(_ set: [Tensor]) throws(SwanError) {
        var (level, sum) = (0, set)
        while let last = runs.last, last.level == level {
            try Self.add(sum, to: last.sum)
            sum = last.sum
            runs.removeLast()
            level += 1
        }
        runs.append((level, sum))
    }

    /// The terms that are added to tensor `index` of a last set, in this order, for the whole sum.
    func terms(_ index: Int) -> [Tensor] { runs.reversed().map { $0.sum[index] } }

    /// The whole sum; empty without sets.
    func total() throws(SwanError) -> [Tensor] {
        guard var sum = runs.last?.sum else { return [] }
        for run in runs.dropLast().reversed() {
            try Self.add(sum, to: run.sum)
            sum = run.sum
        }
        return sum
    }

    private static func add(_ set: [Tensor], to sum: [Tensor]) throws(SwanError) {
        try withoutGradients { () throws(SwanError) in try addOp.run(sum, set, 1) }
    }
}
