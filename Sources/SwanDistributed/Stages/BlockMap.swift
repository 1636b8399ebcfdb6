package import SwanSystem

/// The blocks of a network that each rank of a pipeline holds: ranges one after the other.
package struct BlockMap: Sendable, Equatable {
    /// Counts the maps of a pipeline; messages say which one they are for.
    package var epoch = 0
    /// The number of blocks of each rank.
    package let counts: [Int]

    /// Divides blocks evenly; the first ranks take one more.
    ///
    /// - Throws: `invalidRequest` if there are more ranks than blocks.
    package init(blocks: Int, ranks: Int) throws(SwanError) {
        guard ranks <= blocks else {
            throw SwanError(
                .invalidRequest,
                "\(blocks) blocks cannot be divided among \(ranks) ranks; use at most \(blocks) ranks"
            )
        }
        counts = Shares(blocks, among: ranks).counts
    }

    /// Gives each rank a number of blocks.
    package init(counts: [Int], epoch: Int = 0) throws(SwanError) {
        guard !counts.isEmpty, counts.allSatisfy({ $0 > 0 }) else {
            throw SwanError(.invalidArgument, "blocks divided as \(counts): each rank needs one")
        }
        (self.counts, self.epoch) = (counts, epoch)
    }

    /// The number of blocks of all ranks.
    package var total: Int { counts.reduce(0, +) }

    /// The blocks of a rank.
    package subscript(rank: Int) -> Range<Int> {
        let first = counts[..<rank].reduce(0, +)
        return first..<first + counts[rank]
    }

    /// The rank that holds a block.
    package func owner(of block: Int) -> Int {
        counts.indices.first { self[$0].contains(block) } ?? counts.count - 1
    }
}

/// What ranks of a pipeline cost, in seconds for each chunk.
package struct StageCosts: Sendable, Equatable {
    /// The time of one block on each rank.
    package var perBlock: [Double]
    /// The time of what else each rank does, such as encoding.
    package var fixed: [Double]

    /// Combines what was measured.
    package init(perBlock: [Double], fixed: [Double]) {
        (self.perBlock, self.fixed) = (perBlock, fixed)
    }

    /// The time of the slowest rank, which is the pipeline's.
    package func slowest(_ counts: [Int]) -> Double {
        zip(counts, zip(perBlock, fixed)).map { Double($0) * $1.0 + $1.1 }.max() ?? 0
    }

    /// The map with the least time of the slowest rank; nil unless it gains more than `gain`.
    ///
    /// A rank's time only grows with its blocks, so giving each block to the rank that will then be
    /// the fastest is optimal. StreamDiffusionV2 (streamv2v/communication/utils.py) instead moves
    /// blocks by the mean time of a block, which misses ranks of unequal speed.
    package func balanced(_ map: BlockMap, gain: Double = 0.05) throws(SwanError) -> BlockMap? {
        let times = perBlock + fixed
        guard times.allSatisfy({ $0.isFinite && $0 >= 0 }), perBlock.count == map.counts.count,
            fixed.count == map.counts.count
        else { return nil }
        var counts = map.counts.map { _ in 1 }
        for _ in counts.count..<max(counts.count, map.total) {
            let next = counts.indices.map { Double(counts[$0] + 1) * perBlock[$0] + fixed[$0] }
            // Of equals, the rank that is furthest below its present number: fewer blocks move.
            let best = counts.indices.min {
                (next[$0], counts[$0] - map.counts[$0]) < (next[$1], counts[$1] - map.counts[$1])
            }
            counts[best ?? 0] += 1
        }
        guard slowest(counts) * (1 + gain) < slowest(map.counts) else { return nil }
        return try BlockMap(counts: counts, epoch: map.epoch + 1)
    }
}

/// The median of the newest numbers, which a single outlier does not change.
package struct RecentMedian: Sendable {
    private let window: Int
    private var values: [Double] = []

    /// Keeps `window` numbers.
    package init(window: Int = 5) { self.window = window }

    /// Adds a number.
    package mutating func add(_ value: Double) {
        values.append(value)
        if values.count > window { values.removeFirst() }
    }

    /// Forgets all numbers.
    package mutating func reset() { values = [] }

    /// The median; NaN if there are fewer than three numbers.
    package var value: Double { values.count < 3 ? .nan : values.sorted()[values.count / 2] }
}
