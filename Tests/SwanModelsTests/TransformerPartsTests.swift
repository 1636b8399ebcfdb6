import GoldenSupport
import Testing
import Torch
import TorchNN

@testable import SwanModels
import SwanSystem

/// Partial transformers: instances that hold only a range of blocks, ranges of tokens, and decisions made
/// by the caller.
@Suite struct TransformerPartsTests {
    private static var config: WanConfig {
        var config = WanConfig()
        (config.dim, config.ffnDim, config.heads, config.layers) = (48, 96, 3, 4)
        (config.inDim, config.outDim, config.freqDim) = (4, 4, 32)
        (config.textDim, config.textLen) = (20, 12)
        return config
    }

    /// Random weights for everything that `build` requests.
    private static func weights(_ build: (Weights) throws -> Void) throws -> [String: Tensor] {
        let made = try MadeWeights.random(seed: 3)
        try build(Weights(made))
        return try made.tensors.mapValues { tensor in
            // Modulations and norms that have an effect.
            try tensor + Tensor.randn(tensor.shape, Generator(seed: UInt64(tensor.count))) * 0.05
        }
    }

    private static func transformer() throws -> [String: Tensor] {
        try weights { _ = try WanTransformer($0, config) }
    }

    private let latents: Tensor
    private let words: Tensor

    init() throws {
        let generator = try Generator(seed: 1)
        latents = try Tensor.randn([2, 4, 3, 6, 10], generator)
        words = try Tensor.randn([1, 5, 20], generator)
    }

    private func attend(_: Int, q: Tensor, k: Tensor, v: Tensor) throws(SwanError) -> Tensor {
        try attention(q, k, v)
    }

    private func numbers(_ tensor: Tensor) throws -> [Float] { try tensor.array() }

    @Test(arguments: 0...4, [false, true])
    func blocksInTwoInstances(split: Int, late: Bool) throws {
        let source = DictionaryWeights(try Self.transformer())
        let steps = try Tensor([300, 700] as [Double], [2, 1])
        try inference {
            let model = try WanTransformer(Weights(source), Self.config)
            let whole = try model(latents, timesteps: steps, text: model.text(words))
            let grid = try model.backbone.grid(of: latents)
            var x = try model.backbone.embed(latents)
            for blocks in [0..<split, split..<4] {
                let weights = Weights(source, readsLayersLate: late)
                let part = try WanTransformer(weights, Self.config, blocks: blocks)
                try weights.finish()
                #expect(part.backbone.blocks == blocks)
                let context = BlockContext(
                    timestep: try part.backbone.embed(timesteps: steps, grid),
                    rope: try part.backbone.rope(grid, .cpu),
                    text: try part.text(words)
                )
                x = try part.backbone.run(blocks: blocks, x, context, attend: attend)
            }
            let timestep = try model.backbone.embed(timesteps: steps, grid)
            let flow = try model.backbone.project(x, timestep, grid)
            #expect(try numbers(flow) == numbers(whole))
        }
    }

    /// Each instance has caches for its own blocks.
    @Test func causalBlocksInTwoInstances() throws {
        let source = DictionaryWeights(try Self.transformer())
        func cache(_ blocks: Range<Int>) throws -> KVCachePool {
            try KVCachePool(
                Self.config,
                rows: 1,
                frames: 3,
                tokensPerFrame: 15,
                blocks: blocks
            )
        }
        try inference {
            let model = try CausalWanTransformer(Weights(source), Self.config)
            let text = try model.text(words)
            let ranges = [0..<3, 3..<4]
            let parts = try ranges.map {
                try CausalWanTransformer(Weights(source), Self.config, blocks: $0)
            }
            let texts = try parts.map { try $0.text(words) }
            let options = KVCacheOptions(frames: 3, sinkFrames: 1)
            var whole = try cache(0..<4)
            var first = try cache(ranges[0])
            var second = try cache(ranges[1])
            #expect(first.byteCount + second.byteCount == whole.byteCount)
            let wholeRows = try whole.acquireRows(1, options: options)
            let firstRows = try first.acquireRows(1, options: options)
            let secondRows = try second.acquireRows(1, options: options)
            for frame in 0..<6 {
                let chunk = try Tensor.randn([1, 4, 1, 6, 10], Generator(seed: UInt64(frame)))
                let expected = try model(
                    chunk,
                    timesteps: [400],
                    text: text,
                    firstFrames: [frame],
                    cache: &whole,
                    rows: wholeRows
                )
                let grid = try model.backbone.grid(of: chunk)
                let timestep = try model.backbone.embed(timesteps: Tensor([400.0], [1, 1]), grid)
                var context = BlockContext(
                    timestep: timestep,
                    rope: try RoPE(
                        firstFrames: [frame],
                        frames: 1,
                        height: 3,
                        width: 5,
                        headDim: 16
                    ),
                    text: texts[0]
                )
                var x = try parts[0].run(
                    blocks: ranges[0],
                    model.backbone.embed(chunk),
                    context,
                    chunk: ([frame], 1),
                    cache: &first,
                    rows: firstRows
                )
                context.text = texts[1]
                x = try parts[1].run(
                    blocks: ranges[1],
                    x,
                    context,
                    chunk: ([frame], 1),
                    cache: &second,
                    rows: secondRows
                )
                let flow = try model.backbone.project(x, timestep, grid)
                #expect(try numbers(flow) == numbers(expected))
            }
            #expect(throws: SwanError.self) {
                try model(
                    latents.narrowed(0, 0, 1).narrowed(2, 0, 1),
                    timesteps: [400],
                    text: text,
                    firstFrames: [6],
                    cache: &second,
                    rows: secondRows
                )
            }
        }
    }

    @Test(arguments: [0, 1, 2, 3, 4]) func controlBranchInTwoInstances(split: Int) throws {
        var config = Self.config
        (config.vaceLayers, config.vaceInDim) = ([0, 2], 6)
        let source = DictionaryWeights(
            try Self.weights { _ = try WanVACETransformer($0, config) }
        )
        let control = try Tensor.randn([1, 6, 3, 6, 10], Generator(seed: 9))
        let steps = try Tensor([500.0, 500.0], [2, 1])
        try inference {
            let model = try WanVACETransformer(Weights(source), config)
            let whole = try model(
                latents,
                timesteps: steps,
                text: model.text(words),
                control: control,
                scale: 0.5
            )
            let grid = try model.backbone.grid(of: latents)
            let timestep = try model.backbone.embed(timesteps: steps, grid)
            var x = try model.backbone.embed(latents)
            var tokens = WanVACETransformer.ControlTokens(
                tokens: try model.embed(control: control, for: latents),
                scale: 0.5
            )
            for blocks in [0..<split, split..<4] {
                let weights = Weights(source)
                let part = try WanVACETransformer(weights, config, blocks: blocks)
                try weights.finish()
                let context = BlockContext(
                    timestep: timestep,
                    rope: try part.backbone.rope(grid, .cpu),
                    text: try part.text(words)
                )
                x = try part.run(blocks: blocks, x, control: &tokens, context, attend: attend)
            }
            #expect(try numbers(model.backbone.project(x, timestep, grid)) == numbers(whole))
        }
    }

    /// Timesteps for the video, for each frame and for each token; ranges inside a frame and of whole
    /// frames.
    @Test(arguments: [1, 3, 45], [0..<22, 15..<45, 22..<45])
    func rangesOfTokens(timesteps: Int, range: Range<Int>) throws {
        let model = try WanTransformer(
            Weights(DictionaryWeights(Self.transformer())),
            Self.config
        )
        let steps = try Tensor.rand([2, timesteps], Generator(seed: 4)) * 1_000
        try inference {
            let backbone = model.backbone
            let grid = try backbone.grid(of: latents)
            let context = BlockContext(
                timestep: try backbone.embed(timesteps: steps, grid),
                rope: try backbone.rope(grid, .cpu),
                text: try model.text(words)
            )
            let all = try backbone.embed(latents)
            var seen: [(k: Tensor, v: Tensor)] = []
            let whole = try backbone.run(blocks: 0..<4, all, context) {
                _,
                q,
                k,
                v throws(SwanError) in
                seen.append((k, v))
                return try attention(q, k, v)
            }
            let own = try context.sliced(tokens: range, of: grid)
            let x = try backbone.run(
                blocks: 0..<4,
                all.narrowed(1, range.lowerBound, range.count),
                own
            ) { block, q, k, v throws(SwanError) in
                func joined(_ own: Tensor, _ whole: Tensor) throws(SwanError) -> Tensor {
                    try concatenated(
                        [
                            whole.narrowed(1, 0, range.lowerBound), own,
                            whole.narrowed(1, range.upperBound, 45 - range.upperBound),
                        ],
                        dim: 1
                    )
                }
                return try attention(q, joined(k, seen[block].k), joined(v, seen[block].v))
            }
            // Matrix products with fewer rows are summed in another order.
            try expectClose(
                backbone.project(x, own.timestep),
                backbone.project(whole, context.timestep)
                    .narrowed(1, range.lowerBound, range.count),
                relative: 1e-5,
                absolute: 1e-5
            )
        }
    }

    @Test func namesBlocksThatAnInstanceLacks() throws {
        let tensors = try Self.transformer()
        func report(_ tensors: [String: Tensor]) throws -> String {
            let weights = Weights(DictionaryWeights(tensors))
            _ = try WanTransformer(weights, Self.config, blocks: 1..<2)
            let error = #expect(throws: SwanError.self) { try weights.finish() }
            return error?.message ?? ""
        }
        var wrong = tensors
        wrong["blocks.1.bogus"] = try .ones([1])
        wrong["blocks.4.modulation"] = try .ones([1])
        wrong["blocks.1.ffn.0.bias"] = nil
        // Weights of another instance, valid or not.
        wrong["blocks.2.bogus"] = try .ones([1])
        wrong["blocks.0.ffn.0.bias"] = nil
        let message = try report(wrong)
        #expect(message.contains("1 missing") && message.contains("blocks.1.ffn.0.bias"))
        #expect(message.contains("2 unused") && message.contains("blocks.1.bogus"))
        #expect(message.contains("blocks.4.modulation"))

        let source = Weights(DictionaryWeights(tensors))
        #expect(throws: SwanError.self) {
            try WanTransformer(source, Self.config, blocks: 3..<5)
        }
        let part = try WanTransformer(source, Self.config, blocks: 1..<3)
        let other = try WanTransformer(source, Self.config, blocks: 0..<1)
        let backbone = part.backbone
        let grid = try backbone.grid(of: latents)
        var context = BlockContext(
            timestep: try backbone.embed(timesteps: Tensor([1.0, 2], [2]), grid),
            rope: try backbone.rope(grid, .cpu),
            text: try part.text(words)
        )
        let x = try backbone.embed(latents)
        for blocks in [0..<2, 2..<4, 0..<4] {
            let error = #expect(throws: SwanError.self) {
                try backbone.run(blocks: blocks, x, context, attend: attend)
            }
            #expect(error?.message.contains("holds 1..<3") ?? false)
        }
        // An instance without all blocks is not a whole network.
        #expect(throws: SwanError.self) {
            try part(latents, timesteps: Tensor([1.0, 2], [2]), text: context.text)
        }
        context.text = try other.text(words)
        let error = #expect(throws: SwanError.self) {
            try backbone.run(blocks: 1..<2, x, context, attend: attend)
        }
        #expect(error?.message.contains("blocks 0..<1, not for block 1") ?? false)
        #expect(throws: SwanError.self) { try context.sliced(tokens: 40..<46, of: grid) }
    }

    /// A tap after a block sees its tokens, and gradients of the tap reach only earlier blocks.
    @Test(arguments: [false, true]) func gradientsOfATap(recomputing: Bool) throws {
        var tensors = try Self.transformer()
        let keys = [
            "blocks.0.ffn.0.weight", "blocks.1.self_attn.q.weight", "blocks.2.ffn.0.weight",
        ]
        for key in keys {
            let leaf = try #require(tensors[key])
            try leaf.setRequiresGrad()
            tensors[key] = leaf
        }
        let model = try WanTransformer(Weights(DictionaryWeights(tensors)), Self.config)
        let backbone = model.backbone
        let grid = try backbone.grid(of: latents)
        let context = BlockContext(
            timestep: try backbone.embed(timesteps: Tensor([400.0, 800], [2]), grid),
            rope: try backbone.rope(grid, .cpu),
            text: try model.text(words)
        )
        let tap = try backbone.run(
            blocks: 0..<2,
            backbone.embed(latents),
            context,
            recomputing: recomputing
        ) { _, q, k, v throws(SwanError) in try attention(q, k, v) }
        let found = try gradients(of: tap.pow(2).mean(), for: keys.compactMap { tensors[$0] })
        for gradient in found[..<2] { #expect(try #require(gradient).abs().max().item() > 0) }
        #expect(found[2] == nil)
    }

    // MARK: - First-block cache

    /// What the cache was asked, and the answers it gives.
    private final class Owner {
        var asked: [FirstBlockChange] = []
        var answers: [Bool]

        init(_ answers: [Bool]) { self.answers = answers }
    }

    @Test func theOwnerOfTheCacheDecides() throws {
        let model = try WanTransformer(
            Weights(DictionaryWeights(Self.transformer())),
            Self.config
        )
        try inference {
            let text = try model.text(words)
            func flow(_ step: Double, _ cache: FirstBlockCache?) throws -> [Float] {
                let steps = try Tensor([step, step], [2])
                return try numbers(model(latents, timesteps: steps, text: text, cache: cache))
            }
            let owner = Owner([false, true])
            let cache = FirstBlockCache(threshold: 0.1) { change, threshold in
                #expect(threshold == 0.1)
                owner.asked.append(change)
                return owner.answers.removeFirst()
            }
            _ = try flow(700, cache)
            // The first call has nothing to compare with.
            #expect(owner.asked.isEmpty)
            let computed = try flow(500, cache)
            #expect(computed == (try flow(500, nil)) && cache.reused == 0)
            let reused = try flow(300, cache)
            #expect(reused != (try flow(300, nil)) && cache.reused == 1)
            #expect(owner.asked.count == 2)
            for change in owner.asked {
                #expect(change.count == 2 * 45 * 48 && change.change > 0 && change.magnitude > 0)
            }
            let refusing = FirstBlockCache(threshold: 1) { _, _ throws(SwanError) in
                throw SwanError(.io, "a rank is gone")
            }
            _ = try flow(700, refusing)
            #expect(throws: SwanError.self) { try flow(600, refusing) }
        }
    }

    /// Two instances with half of the blocks each, and a cache for each half.
    @Test func cachesApplyToARangeOfBlocks() throws {
        let model = try WanTransformer(
            Weights(DictionaryWeights(Self.transformer())),
            Self.config
        )
        let backbone = model.backbone
        try inference {
            let grid = try backbone.grid(of: latents)
            let context = BlockContext(
                timestep: try backbone.embed(timesteps: Tensor([400.0, 800], [2]), grid),
                rope: try backbone.rope(grid, .cpu),
                text: try model.text(words)
            )
            let cache = FirstBlockCache(threshold: 1e-3)
            let x = try backbone.embed(latents)
            var ran: [Int] = []
            func run() throws -> Tensor {
                ran = []
                return try backbone.run(blocks: 2..<4, x, context, cache: cache) {
                    block,
                    q,
                    k,
                    v throws(SwanError) in
                    ran.append(block)
                    return try attention(q, k, v)
                }
            }
            let first = try run()
            #expect(ran == [2, 3])
            try expectClose(run(), first, relative: 1e-6, absolute: 1e-6)
            #expect(ran == [2] && cache.reused == 1)
        }
    }
}
