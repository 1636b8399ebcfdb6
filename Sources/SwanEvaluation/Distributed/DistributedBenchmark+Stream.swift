import SwanDistributed
import SwanModels
import SwanPipelines
import SwanSystem
import Torch
import TorchNN

extension DistributedBenchmark {
    /// A stream with its blocks divided among ranks against one rank.
    func stream() throws -> DistributedResult {
        var config = WanConfig.wan1_3B
        config.layers = max(4, world.size)
        let weights = Weights(try MadeWeights.random(), device: device)
        // Numbers depend on the order in which they are drawn: all ranks draw all of them.
        _ = try CausalWanTransformer(weights, config)
        let stream = try LatentStream(
            config,
            size: (height: 30, width: 52),
            steps: 2,
            rounds: rounds,
            device: device
        ) { [config] blocks throws(SwanError) in
            try CausalWanTransformer(weights, config, blocks: blocks)
        }
        try world.group.barrier()
        let one = world.rank == 0 ? try stream.alone(comparedWith: world.size) : nil
        try world.group.barrier()
        let all = try stream.over(world)
        try world.group.barrier()
        return Self.result(stream, config, one ?? LatentStream.Outcome(), all, world.size, device)
    }

    /// The figures, which rank 0 alone has.
    private static func result(
        _ stream: LatentStream,
        _ config: WanConfig,
        _ one: LatentStream.Outcome,
        _ all: LatentStream.Outcome,
        _ ranks: Int,
        _ device: Device
    ) -> DistributedResult {
        func median(_ times: [Double]) -> Double {
            times.isEmpty ? .nan : times.sorted()[times.count / 2]
        }
        let (alone, together) = (median(one.intervals), median(all.intervals))
        let different =
            zip(one.pixels, all.pixels).count { $0 != $1 }
            + abs(one.pixels.count - all.pixels.count)
        let threads = "\(Engine.threads) thread\(Engine.threads == 1 ? "" : "s")"
        return DistributedResult(
            row: .stream,
            work:
                "\(config.layers) blocks of 1.3B, \(stream.tokens) tokens of 2 steps, \(ranks) stages "
                + "with \(threads) each",
            figures: [
                Figure("one rank, a chunk", alone * 1_000, "ms"),
                Figure("all ranks, a chunk", together * 1_000, "ms"),
                Figure("speedup", alone / together, "", .atLeast(0.8 * Double(ranks))),
                Figure(
                    "pixels that differ",
                    Double(different),
                    "",
                    device == .cpu ? .within(0...0) : nil
                ),
            ]
        )
    }
}
