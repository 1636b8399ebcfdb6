import SwanDistributed
import SwanModels
import SwanSystem
import SwanPipelines
import Testing
import Torch
import TorchNN

/// The stream that `swan bench distribute` measures.
@Suite struct LatentStreamTests {
    /// Blocks on ranks give the pixels of one process, and each interval is measured.
    @Test(arguments: [1, 2, 3], [1, 2])
    func blocksOnRanksEqualOne(ranks: Int, steps: Int) throws {
        var config = WanConfig()
        (config.dim, config.heads, config.layers) = (48, 2, 4)
        (config.ffnDim, config.textDim, config.textLen, config.freqDim) = (64, 20, 12, 32)
        let source = try MadeWeights.random(seed: 5)
        _ = try CausalWanTransformer(Weights(source), config)
        let weights = DictionaryWeights(source.tensors)
        let stream = try LatentStream(
            config,
            size: (height: 6, width: 4),
            steps: steps,
            rounds: 5,
            device: .cpu
        ) { [config] blocks throws(SwanError) in
            try CausalWanTransformer(Weights(weights), config, blocks: blocks)
        }
        #expect(stream.tokens == 6 * steps)
        let one = try ComputeBudget(threads: 1).run { try stream.alone(comparedWith: ranks) }
        let all = try ThreadRanks.run(ranks) { world in try stream.over(world) }
        let first = try all[0].get()
        for outcome in all { _ = try outcome.get() }
        // The first chunk has two latent frames, each of 48 x 32 pixels.
        let chunks = 2 + 5 + ranks * (steps - 1)
        #expect(one.pixels.count == (chunks + 1) * 48 * 32 * 3)
        #expect(first.pixels == one.pixels)
        #expect(Set(one.pixels).count > 10)
        #expect(one.intervals.count == 5 && first.intervals.count == 5)
    }
}
