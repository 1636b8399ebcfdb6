import Foundation
import RankSupport
import SwanDistributed
import SwanModels
import SwanSystem
import SwanTraining
import Torch
import TorchNN

extension TrainingProbe {
    /// Networks whose weights are shared among ranks, against whole ones: the same bits.
    func checkShards() throws {
        guard let world, let group = try world.makeGroup(Array(0..<world.size)) else { return }
        for count in [1, 5, 64, 130] {
            for rank in 0..<world.size {
                let range = Shard.range(count, of: rank, among: world.size)
                let part = try Shard.part(
                    of: Tensor((0..<count).map(Float.init), [count]),
                    rank,
                    among: world.size
                )
                try check(part.count == Shard.length(count, among: world.size), "a part's length")
                let values = try part.array(of: Float.self)
                try check(
                    values.prefix(range.count) == range.map(Float.init)[...]
                        && values.dropFirst(range.count).allSatisfy { $0 == 0 },
                    "part \(rank) of \(count)"
                )
            }
        }
        try checkNetworks(group)
        try checkGradients(group)
    }

    private func checkNetworks(_ group: ProcessGroup) throws {
        let method = FlowMethod(hasImages: true, microBatches: 1)
        let whole = DictionaryWeights(try method.start()[FlowMethod.role] ?? [:])
        for dtype in [DType.float32, .bfloat16] {
            let shared = try ShardedWeights(of: whole, group, as: dtype)
            let stored = try method.start()[FlowMethod.role]?.mapValues { try $0.to(dtype) } ?? [:]
            func output(_ source: any WeightSource, late: Bool) throws -> Tensor {
                let weights = Weights(source, dtype: dtype, readsLayersLate: late)
                let transformer = try WanTransformer(weights["transformer"], method.config)
                let encoder = try UMT5Encoder(weights["text_encoder"], method.encoder)
                try weights.finish()
                let batch = try method.batch(BatchPlace(step: 0))
                return try inference {
                    let text = try transformer.text(
                        encoder.encode(batch.prompts),
                        image: batch.image?.to(dtype)
                    )
                    let input = try concatenated(
                        [batch.latents] + [batch.condition].compactMap(\.self),
                        dim: 1
                    )
                    return try transformer(input.to(dtype), timesteps: batch.timesteps, text: text)
                }
            }
            let expected = try output(DictionaryWeights(stored), late: false).to(.float32)
            UnshardedBytes.reset()
            let found = try output(shared, late: true).to(.float32)
            try check(found, expected, within: 0, "a network of shared weights in \(dtype)")
            let block = stored.filter { $0.key.hasPrefix("transformer.blocks.0.") }.values
                .reduce(0) { $0 + $1.byteCount }
            let others = stored.filter { !$0.key.contains("blocks.") }.values
                .reduce(0) { $0 + $1.count * 4 }
            let most = UnshardedBytes.maximum
            let padding = 4 * group.size * Shard.alignment * stored.count
            try check(
                most <= others + 2 * block + padding,
                "\(most) bytes whole at a time, block \(block)"
            )
        }
    }

    /// The gradient of a part is its sum over ranks, in float32 also for bfloat16.
    private func checkGradients(_ group: ProcessGroup) throws {
        let random = try Generator(seed: 9)
        for (count, dtype) in [(37, DType.float32), (37, .bfloat16), (64, .float32)] {
            let whole = try Tensor.randn([count], random)
            let weights = try (0..<group.size).map { _ in try Tensor.randn([count], random) }
            let part = try Shard.part(of: whole, group.rank, among: group.size)
            try part.setRequiresGrad()
            let shared = ShardedWeights(parts: ["w": part], shapes: ["w": [count]], group)
            let read = try shared.tensor("w", [count], for: dtype)
            try check(read.dtype == dtype, "a weight in \(dtype)")
            let loss = try (read.to(.float32) * weights[group.rank]).sum()
            let gradient = try gradients(of: loss, for: [part])[0]
            // What ranks compute in bfloat16 is summed in float32, in pairs.
            var sums = try weights.map { try $0.to(dtype).to(.float32) }
            while sums.count > 1 {
                sums = try stride(from: 0, to: sums.count, by: 2).map { index in
                    index + 1 < sums.count ? try sums[index] + sums[index + 1] : sums[index]
                }
            }
            let expected = try Shard.part(of: sums[0], group.rank, among: group.size)
            try check(gradient ?? whole, expected, within: 0, "a gradient in \(dtype)")
        }
    }

    /// The most bytes of weights that a rank has at a time while it trains.
    func checkPeak() throws {
        guard let world else { return }
        var method = FlowMethod(hasImages: false, microBatches: world.size)
        (method.config.layers, method.config.dim, method.config.ffnDim) = (8, 96, 192)
        let ranks = try TrainingRanks(world, ParallelOptions(shard: .full))
        let start = try method.start()[FlowMethod.role] ?? [:]
        func bytes(_ holds: (String) -> Bool) -> Int {
            start.filter { holds($0.key) }.values.reduce(0) { $0 + 4 * $1.count }
        }
        let all = bytes { _ in true }
        let block = bytes { $0.hasPrefix("transformer.blocks.0.") }
        let others = bytes { !$0.contains(".blocks.") }
        // Of a block and what is not of blocks.
        let padding = 4 * world.size * Shard.alignment * (start.count / method.config.layers)
        let steps = argument("steps").flatMap { Int($0) } ?? 2
        let made = method
        var (own, most) = (0, Int.max)
        // On a busy machine, Gloo may hold a block a moment longer, so the least of several runs counts.
        for _ in 0..<3 {
            UnshardedBytes.reset()
            let loop = TrainingLoop("peak", steps: steps, method: method, ranks: ranks)
            let state = try loop.run(from: { try made.start() }, stoppingAt: steps) { _ in }
            let parameters = state.networks[FlowMethod.role]?.parameters ?? []
            own = parameters.reduce(0) { $0 + $1.byteCount }
            most = min(most, UnshardedBytes.maximum)
        }
        try check(
            own <= all / world.size + 4 * Shard.alignment * start.count,
            "\(own) bytes of \(all) are own"
        )
        try check(
            most <= others + 2 * block + padding && most >= block,
            "\(most) bytes whole at a time: block \(block), others \(others), all \(all)"
        )
        // Gloo may hold what it has gathered last for a moment.
        let end = ContinuousClock.now + .seconds(5)
        while UnshardedBytes.now > 0, ContinuousClock.now < end {
            Thread.sleep(forTimeInterval: 0.01)
        }
        try check(
            UnshardedBytes.now == 0,
            "\(UnshardedBytes.now) bytes are left, block \(block), most \(most), others \(others), all \(all)"
        )
    }
}
