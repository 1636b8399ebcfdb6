import Foundation
import SwanDistributed
import SwanModels
import SwanSystem
import SwanTraining

extension Recipe {
    /// The processes that train by this recipe together; nil for one. All processes of a world call
    /// this.
    ///
    /// - Throws: `invalidRequest` if `parallel` does not fit the number of processes; `peersDiffer` if
    ///   they have different recipes.
    func ranks(of world: World?) throws -> TrainingRanks? {
        let options = parallel ?? ParallelOptions()
        guard let world, world.size > 1 else {
            _ = try options.shape(for: 1)
            return nil
        }
        let ranks = try TrainingRanks(world, options)
        try ranks.requireSame(
            "the recipe",
            "checksum \(try checksum())",
            remedy: "start all ranks with the same recipe and options"
        )
        return ranks
    }

    /// Throws `invalidRequest` if a stage that is still to be trained cannot be divided among the
    /// ranks.
    ///
    /// Stages make the same checks, but the last may begin after days.
    func check(_ ranks: TrainingRanks, hasAutoencoder: Bool) throws(SwanError) {
        let parts = vae.optimizer.microBatches ?? 1
        if start == nil {
            if !hasAutoencoder {
                try ranks.check(StageWork(stage: "vae", microBatches: parts))
            }
            if vae.training.decoderSteps ?? 0 > 0 {
                try ranks.check(StageWork(stage: "decoder", microBatches: parts))
            }
        }
        let later = transformer.optimizer.microBatches ?? 1
        try ranks.check(
            StageWork(
                stage: "transformer",
                microBatches: later,
                dividesTokens: ranks.dividesTokens,
                sharesWeights: true
            )
        )
        try ranks.requireHeads(transformer.model.heads)
    }

    /// A number that depends on every value.
    private func checksum() throws -> String {
        // FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv/: Swift's own hashes differ between
        // processes.
        let hash = try yaml().utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) {
            ($0 ^ UInt64($1)) &* 0x100_0000_01b3
        }
        return String(hash, radix: 16)
    }
}
