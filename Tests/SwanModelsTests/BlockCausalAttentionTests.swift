import GoldenSupport
import SwanSystem
import Testing
import Torch
import TorchNN

@testable import SwanModels

/// Compares attention in blocks with a dense mask, and with a stream through the KV cache.
@Suite struct BlockCausalAttentionTests {
    /// Sizes of a video and what its blocks see.
    struct Sizes: Sendable, CustomTestStringConvertible {
        let frames, tokens, block: Int
        var window: Int?
        var sinks = 0
        /// The option of the cache: a stream keeps its first chunk in any case, and whole chunks.
        var sinkFrames: Int?

        var testDescription: String {
            "\(frames) frames of \(tokens) in \(block)s, window \(window ?? 0), \(sinks) sinks"
        }
    }

    /// Whether a frame (row) sees another (column), by the definition.
    private func mask(_ sizes: Sizes) throws -> Tensor {
        let allowed = (0..<sizes.frames).flatMap { query in
            (0..<sizes.frames).map { key in
                let end = min(sizes.frames, (query / sizes.block + 1) * sizes.block)
                let isRecent = sizes.window.map { key >= end - ($0 - sizes.sinks) } ?? true
                return key < end && (isRecent || key < sizes.sinks)
            }
        }
        return try Tensor(allowed, [sizes.frames, sizes.frames])
            .repeatedInterleaved(sizes.tokens, dim: 0).repeatedInterleaved(sizes.tokens, dim: 1)
    }

    @Test(arguments: [
        Sizes(frames: 5, tokens: 7, block: 1), Sizes(frames: 6, tokens: 4, block: 3),
        Sizes(frames: 7, tokens: 3, block: 2), Sizes(frames: 1, tokens: 5, block: 3),
        Sizes(frames: 9, tokens: 3, block: 1, window: 4),
        Sizes(frames: 9, tokens: 3, block: 1, window: 6, sinks: 3),
        Sizes(frames: 11, tokens: 2, block: 2, window: 6, sinks: 2),
        Sizes(frames: 10, tokens: 5, block: 3, window: 7, sinks: 1),
        Sizes(frames: 3, tokens: 2, block: 1, window: 1),
    ])
    func equalsADenseMask(sizes: Sizes) throws {
        let generator = try Generator(seed: UInt64(sizes.frames * 31 + sizes.tokens))
        let shape = [2, sizes.frames * sizes.tokens, 3, 8]
        let blocks = try BlockCausalAttention(
            frames: sizes.frames,
            tokensPerFrame: sizes.tokens,
            framesPerBlock: sizes.block,
            window: sizes.window,
            sinks: sizes.sinks
        )
        let inputs = try (0..<3).map { _ in try Tensor.randn(shape, generator) }
        for input in inputs { try input.setRequiresGrad() }
        let weights = try Tensor.randn(shape, generator)
        let mask = try mask(sizes)
        let found = try blocks(inputs[0], inputs[1], inputs[2])
        let expected = try attention(inputs[0], inputs[1], inputs[2], mask: mask)
        try expectClose(found.detached(), expected.detached(), relative: 1e-5, absolute: 1e-6)
        let ours = try gradients(of: (found * weights).sum(), for: inputs)
        let theirs = try gradients(of: (expected * weights).sum(), for: inputs)
        for (a, b) in zip(ours, theirs) {
            try expectClose(#require(a), #require(b), relative: 1e-5, absolute: 2e-6)
        }
    }

    /// A stream whose cache has as many frames and sinks computes the same, chunk by chunk.
    @Test(arguments: [
        Sizes(frames: 8, tokens: 6, block: 1, window: 4, sinks: 2),
        Sizes(frames: 10, tokens: 6, block: 2, window: 6, sinks: 2),
        Sizes(frames: 12, tokens: 6, block: 3, window: 6, sinks: 3, sinkFrames: 0),
        Sizes(frames: 12, tokens: 6, block: 2, window: 8, sinks: 2, sinkFrames: 3),
        Sizes(frames: 6, tokens: 6, block: 2),
    ])
    func equalsTheCache(sizes: Sizes) throws {
        var config = WanConfig()
        (config.dim, config.ffnDim, config.heads, config.layers) = (36, 48, 3, 2)
        (config.inDim, config.outDim, config.freqDim) = (4, 4, 32)
        (config.textDim, config.textLen) = (20, 12)
        let model = try CausalWanTransformer(Weights(MadeWeights.random(seed: 5)), config)
        let generator = try Generator(seed: 6)
        let latents = try Tensor.randn([1, 4, sizes.frames, 4, 6], generator)
        let times = (0..<sizes.frames / sizes.block).map { Double(900 - 83 * $0) }
        let perFrame = times.flatMap { Array(repeating: $0, count: sizes.block) }
        try inference {
            let text = try model.text(Tensor.randn([1, 5, 20], generator))
            let whole = try model(
                latents,
                timesteps: Tensor(perFrame.map(Float.init), [1, sizes.frames]),
                text: text,
                framesPerBlock: sizes.block,
                window: sizes.window,
                sinks: sizes.sinks
            )
            let room = sizes.window ?? sizes.frames
            var cache = try KVCachePool(config, rows: 1, frames: room, tokensPerFrame: 6)
            let row = try cache.acquireRows(
                1,
                options: KVCacheOptions(frames: room, sinkFrames: sizes.sinkFrames ?? sizes.sinks)
            )
            for (index, time) in times.enumerated() {
                let first = index * sizes.block
                let chunk = try model(
                    latents.narrowed(2, first, sizes.block),
                    timesteps: [time],
                    text: text,
                    firstFrames: [first],
                    cache: &cache,
                    rows: row
                )
                try expectClose(
                    chunk,
                    whole.narrowed(2, first, sizes.block),
                    relative: 2e-5,
                    absolute: 2e-5,
                    "chunk \(index)"
                )
            }
        }
    }

    @Test func refusesWindowsWithoutRoom() throws {
        let error = #expect(throws: SwanError.self) {
            try BlockCausalAttention(
                frames: 9,
                tokensPerFrame: 1,
                framesPerBlock: 3,
                window: 5,
                sinks: 3
            )
        }
        #expect(error?.message.contains("at least 6") ?? false)
    }
}
