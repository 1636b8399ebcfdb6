import SwanDistributed
import SwanSystem
import Torch

/// What this process does of each step of a stage, and with whom.
struct MicroBatchPlan: Sendable {
    /// The processes; nil for one.
    let ranks: TrainingRanks?
    /// The number of micro-batches in a step.
    let parts: Int
    /// Those that this process computes, in order.
    let own: [Int]
    /// The ranks among which gradients are summed after the backward pass; nil for none.
    let reduction: ProcessGroup?
    /// The ranks that share weights; nil if each has all.
    let shards: ProcessGroup?
    /// Whether this process saves what its micro-batches carry over.
    let savesCarry: Bool
    /// The part of all weights that this process saves, and the number of parts; nil for none.
    let piece: (index: Int, count: Int)?

    /// Whether this process reports progress.
    var isFirst: Bool { ranks?.isFirst ?? true }

    /// The plan of a single process.
    init(parts: Int) {
        ranks = nil
        self.parts = parts
        own = Array(0..<parts)
        reduction = nil
        shards = nil
        savesCarry = true
        piece = nil
    }

    /// The plan of a rank for a stage.
    ///
    /// A sum over micro-batches is taken in pairs of neighbours. It has the same bits on any number
    /// of ranks that leaves each a power of two of them: without shards, a rank computes consecutive
    /// micro-batches and adds them before the ranks' sums are added; with shards, the ranks'
    /// gradients of one pass are added first, so that one pass takes consecutive micro-batches.
    init<M: Method>(_ ranks: TrainingRanks, _ method: M, stage: String) throws(SwanError) {
        let work = StageWork(
            stage: stage,
            microBatches: method.microBatches,
            dividesTokens: method.dividesTokens,
            sharesWeights: method.sharesWeights
        )
        try ranks.check(work)
        let parts = work.microBatches
        let divides = ranks.divides(work)
        let isSharded = ranks.shares(work)
        let width = isSharded ? ranks.shards?.size ?? 1 : 1
        let (count, index) = ranks.data
        let together = max(1, width / ranks.sequence.count)
        self.ranks = ranks
        self.parts = parts
        if isSharded {
            let (block, place) = (index / together, index % together)
            let passes = parts / count
            own = (0..<passes).map { block * passes * together + $0 * together + place }
            reduction = ranks.replicas
            shards = ranks.shards
            let replica = ranks.world.rank / width
            piece = replica == 0 ? (ranks.world.rank % width, width) : nil
        } else {
            own = Array(Shares(parts, among: count)[index])
            reduction = divides ? ranks.all : ranks.peers
            shards = nil
            piece = (ranks.world.rank, ranks.world.size)
        }
        savesCarry = ranks.sequence.index == 0
    }
}

extension Method {
    /// The plan for this method; nil ranks for a single process.
    func plan(_ ranks: TrainingRanks?, stage: String) throws(SwanError) -> MicroBatchPlan {
        guard let ranks else { return MicroBatchPlan(parts: microBatches) }
        return try MicroBatchPlan(ranks, self, stage: stage)
    }
}
