import GoldenSupport
import SwanModels
import SwanSchedulers
import SwanSystem
import Testing
import Torch
import TorchNN

@testable import SwanPipelines

/// Streams that share forward passes and a KV cache pool give the same results as alone.
@Suite struct SharedForwardTests {
    /// A stream with its own length, steps and prompt that joins at a given tick.
    private struct Script {
        let seed: UInt64
        let steps: [Double]
        let streamBatch: Bool
        /// The number of prompt tokens, at most 12.
        let tokens: Int
        let chunks: Int
        /// The tick of its first chunk.
        let joins: Int
        var sinkThreshold = -1.0
        var firstPosition = 0
    }

    private let config: WanConfig
    private let model: CausalWanTransformer
    private let schedule: FlowMatch

    init() throws {
        var config = WanConfig()
        (config.dim, config.ffnDim, config.heads, config.layers) = (48, 96, 3, 2)
        (config.inDim, config.outDim, config.freqDim) = (4, 4, 32)
        (config.textDim, config.textLen) = (20, 12)
        self.config = config
        model = try CausalWanTransformer(Weights(MadeWeights.random(seed: 3)), config)
        schedule = try FlowMatch(.streaming(shift: 5))
    }

    @Test func sharedStreamsEqualSeparateStreams() throws {
        let scripts = [
            Script(seed: 1, steps: [700, 500], streamBatch: true, tokens: 5, chunks: 9, joins: 0),
            Script(
                seed: 2,
                steps: [800, 600, 400],
                streamBatch: true,
                tokens: 12,
                chunks: 12,
                joins: 3,
                sinkThreshold: 0.9,
                firstPosition: 40
            ),
            Script(seed: 3, steps: [600, 300], streamBatch: false, tokens: 1, chunks: 8, joins: 5),
            // Reuses the rows that the first stream released.
            Script(
                seed: 4,
                steps: [500, 250],
                streamBatch: true,
                tokens: 8,
                chunks: 6,
                joins: 13,
                firstPosition: 7
            ),
        ]
        try inference {
            let together = try run(scripts, rows: 6)
            for (index, script) in scripts.enumerated() {
                let alone = try run([script], rows: 3)[0]
                #expect(together[index].count == script.chunks && alone.count == script.chunks)
                for (a, b) in zip(together[index], alone) {
                    try expectClose(a, b, relative: 1e-5, absolute: 1e-5)
                }
            }
        }
    }

    /// Released rows pass nothing on to their next owner.
    @Test func releasedRowsAreEmpty() throws {
        let script = Script(
            seed: 9,
            steps: [700, 400],
            streamBatch: true,
            tokens: 4,
            chunks: 5,
            joins: 0,
            sinkThreshold: 0.5
        )
        let other = Script(
            seed: 8,
            steps: [600, 300],
            streamBatch: true,
            tokens: 3,
            chunks: 7,
            joins: 0
        )
        try inference {
            var cache = try pool(rows: 2)
            let fresh = try run([script], &cache)[0]
            var used = try pool(rows: 2)
            _ = try run([other], &used)
            let again = try run([script], &used)[0]
            for (a, b) in zip(fresh, again) {
                #expect(try a.array(of: Float.self) == b.array(of: Float.self))
            }
        }
    }

    @Test func acquiresAndReleasesRows() throws {
        var cache = try pool(rows: 3)
        let options = KVCacheOptions(frames: 5, sinkFrames: 1)
        let first = try cache.acquireRows(1, options: options)
        let second = try cache.acquireRows(2, options: options)
        #expect(cache.freeRowCount == 0 && Set(first + second).count == 3)
        #expect(throws: SwanError.self) { try cache.acquireRows(1, options: options) }
        try cache.releaseRows(first)
        #expect(cache.freeRowCount == 1)
        #expect(throws: SwanError.self) { try cache.releaseRows(first) }
        let third = try cache.acquireRows(1, options: options)
        #expect(third != first)
        // The previous owner's handle gives no access to the row.
        #expect(throws: SwanError.self) { try cache.layOut(first, framesPerChunk: 1) }
        #expect(throws: SwanError.self) {
            try cache.acquireRows(0, options: KVCacheOptions(frames: 6, sinkFrames: 1))
        }
    }

    // MARK: - A miniature engine

    private func pool(rows: Int) throws(SwanError) -> KVCachePool {
        try KVCachePool(config, rows: rows, frames: 5, tokensPerFrame: 15)
    }

    private func run(_ scripts: [Script], rows: Int) throws -> [[Tensor]] {
        var cache = try pool(rows: rows)
        return try run(scripts, &cache)
    }

    /// Runs all streams in shared forward passes until each has finished its chunks.
    private func run(_ scripts: [Script], _ cache: inout KVCachePool) throws -> [[Tensor]] {
        var streams: [Running] = []
        for tick in 0..<60 {
            for (index, script) in scripts.enumerated() where script.joins == tick {
                streams.append(try Running(index, script, model, schedule, &cache))
            }
            for stream in streams where !stream.isOver && stream.work == nil {
                try stream.feed(&cache)
            }
            let busy = streams.filter { $0.work != nil }
            let flows = try model(busy.compactMap(\.work), cache: &cache)
            for (stream, flow) in zip(busy, flows) { try stream.finish(flow, &cache) }
        }
        #expect(streams.count == scripts.count && streams.allSatisfy(\.isOver))
        #expect(cache.freeRowCount == cache.rowCount)
        return streams.sorted { $0.index < $1.index }.map(\.finished)
    }

    /// A running stream.
    private final class Running {
        let index: Int
        private(set) var finished: [Tensor] = []
        private(set) var isOver = false
        private var denoiser: StreamDenoiser
        private let text: TextConditioning
        private var chunks: [Tensor]

        init(
            _ index: Int,
            _ script: Script,
            _ model: CausalWanTransformer,
            _ schedule: FlowMatch,
            _ cache: inout KVCachePool
        ) throws {
            self.index = index
            let generator = try Generator(seed: script.seed)
            text = try model.text(.randn([1, script.tokens, 20], generator))
            chunks = try (0..<script.chunks).map {
                try .randn([1, 4, $0 == 0 ? 2 : 1, 6, 10], generator)
            }
            let options = KVCacheOptions(
                frames: 5,
                sinkFrames: 1,
                sinkThreshold: script.sinkThreshold,
                passes: script.steps.count
            )
            let noise = StreamNoise(seed: script.seed, dtype: .float32, device: .cpu)
            let plan = DenoisingPlan(
                schedule: schedule,
                steps: script.steps,
                streamBatch: script.streamBatch,
                noise: { shape, key throws(SwanError) in try noise(shape, key) }
            )
            denoiser = StreamDenoiser(
                plan,
                cacheRows: try cache.acquireRows(plan.cacheRowCount, options: options)
            )
            denoiser.position = script.firstPosition
        }

        var work: DenoisingWork? { denoiser.work }

        /// Adds the next chunk, advances the pending chunks, or ends the stream.
        func feed(_ cache: inout KVCachePool) throws {
            if !chunks.isEmpty {
                try denoiser.add(chunks.removeFirst(), text: text)
            } else if try !denoiser.advance(text: text) {
                isOver = true
                try cache.releaseRows(denoiser.cacheRows)
            }
        }

        func finish(_ flow: Tensor, _ cache: inout KVCachePool) throws {
            if let clean = try denoiser.finish(flow, cache: &cache) { finished.append(clean) }
        }
    }
}
