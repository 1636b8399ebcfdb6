import SwanCheckpoints
import SwanModels
import SwanSystem
import Torch

/// Denoises the chunks of several streams; used by one thread.
///
/// Streams whose cache rows have the same shape share a pool, and their rows a forward pass. Pools take
/// turns: the next pass is that of the stream with the earliest deadline.
final class SharedDenoiser {
    /// What changed since the last pass.
    struct Arrivals {
        /// The streams that have not left.
        var present: Set<Int> = []
        /// New chunks; the stream has no other chunk at its first step.
        var chunks:
            [(stream: SharedStream, chunk: TaggedChunk, deadline: ContinuousClock.Instant)] =
                []
        /// Streams without further chunks, whose chunks in flight are to be completed.
        var finishing: [SharedStream] = []

        var isEmpty: Bool { chunks.isEmpty && finishing.isEmpty }
    }

    /// Runs the works of streams with these numbers in one forward pass; see
    /// `CausalWanTransformer.callAsFunction(_:cache:)`.
    typealias Forward =
        @Sendable (_ works: [DenoisingWork], _ streams: [Int], _ cache: inout KVCachePool)
        throws(SwanError) -> [Tensor]

    /// What a pass completes.
    enum Result {
        /// A pass of so many rows, with so many tokens a latent frame, has run.
        case ran(rows: Int, tokens: Int, seconds: Double)
        case clean(SharedStream, CleanChunk, ChunkTag)
        /// The last chunk of a stream that ends has been returned.
        case drained(SharedStream)
    }

    private struct PoolShape: Hashable {
        let tokensPerFrame: Int
        let framesPerRow: Int
    }

    private final class Pool {
        let tokensPerFrame: Int
        var cache: KVCachePool

        init(_ cache: consuming KVCachePool, tokensPerFrame: Int) {
            self.cache = cache
            self.tokensPerFrame = tokensPerFrame
        }
    }

    /// The denoising state of one stream.
    private final class Lane {
        let stream: SharedStream
        let pool: Pool
        var denoiser: StreamDenoiser
        var options: StreamOptions
        var text: TextConditioning
        var deadline: ContinuousClock.Instant
        /// The chunks in flight, oldest first.
        var inFlight: [(mark: ChunkMark, tag: ChunkTag)] = []
        /// The seconds of passes since the last chunk left.
        var seconds = 0.0

        init(
            _ stream: SharedStream,
            _ pool: Pool,
            _ denoiser: consuming StreamDenoiser,
            _ first: TaggedChunk,
            _ deadline: ContinuousClock.Instant
        ) {
            self.stream = stream
            self.pool = pool
            self.denoiser = denoiser
            self.deadline = deadline
            options = first.options
            text = first.tag.stages.prompts.conditioning(of: first.noised.prompt)
        }
    }

    private let model: StreamModel
    private let clock: StreamClock
    private let forward: Forward
    private var pools: [PoolShape: Pool] = [:]
    private var lanes: [Int: Lane] = [:]

    init(_ model: StreamModel, clock: StreamClock, forward: @escaping Forward) {
        self.model = model
        self.clock = clock
        self.forward = forward
    }

    /// The streams that hold cache rows.
    var streamIDs: Set<Int> { Set(lanes.keys) }
    /// Whether a stream has steps left, so that it takes no new chunk.
    func isBusy(_ id: Int) -> Bool { lanes[id].map { $0.denoiser.work != nil } ?? false }
    /// Whether a pass is due without a new chunk.
    var hasWork: Bool { lanes.values.contains { $0.denoiser.work != nil } }

    /// Admits what arrived and runs one forward pass.
    ///
    /// - Returns: The streams that failed, with their errors; the others are not affected.
    func run(
        _ arrivals: Arrivals,
        deliver: (Result) -> Void
    ) -> [(SharedStream, any Error)] {
        var failures: [(SharedStream, any Error)] = []
        for (id, lane) in lanes where !arrivals.present.contains(id) { remove(lane) }
        for (stream, chunk, deadline) in arrivals.chunks {
            do {
                try inference { try admit(stream, chunk, deadline, deliver) }
            } catch {
                failures.append((stream, error))
            }
        }
        for stream in arrivals.finishing {
            do {
                try inference { try drain(stream, deliver) }
            } catch {
                failures.append((stream, error))
            }
        }
        failures += pass(deliver)
        for (stream, _) in failures { lanes[stream.id].map(remove) }
        return failures
    }

    // MARK: - Chunks

    private func admit(
        _ stream: SharedStream,
        _ chunk: TaggedChunk,
        _ deadline: ContinuousClock.Instant,
        _ deliver: (Result) -> Void
    ) throws {
        if chunk.resets, let lane = lanes[stream.id] {
            try finishChunks(of: lane, deliver)
            remove(lane)
        }
        let lane = try lanes[stream.id] ?? makeLane(stream, chunk, deadline)
        lanes[stream.id] = lane
        lane.deadline = deadline
        if chunk.options.stepsDiffer(from: lane.options) {
            try finishChunks(of: lane, deliver)
            try changePlan(of: lane, to: chunk.options)
        } else if chunk.options.settings.seed != lane.options.settings.seed {
            let random = StreamNoise(
                seed: chunk.options.settings.seed,
                kind: chunk.options.configuration.noise,
                dtype: model.dtype,
                device: model.device
            )
            lane.denoiser.changeNoise { shape, key throws(SwanError) in try random(shape, key) }
        }
        if chunk.noised.mark.startsScene {
            try finishChunks(of: lane, deliver)
            try lane.denoiser.restart(&lane.pool.cache)
        }
        lane.options = chunk.options
        lane.text = chunk.tag.stages.prompts.conditioning(of: chunk.noised.prompt)
        lane.inFlight.append((chunk.noised.mark, chunk.tag))
        if chunk.noised.mark.startsShot { try lane.denoiser.restart(&lane.pool.cache) }
        try lane.denoiser.add(
            chunk.noised.latents,
            firstTimestep: chunk.noised.firstTimestep,
            endsShot: chunk.noised.mark.endsShot,
            text: lane.text
        )
    }

    private func makeLane(
        _ stream: SharedStream,
        _ chunk: TaggedChunk,
        _ deadline: ContinuousClock.Instant
    ) throws -> Lane {
        let configuration = chunk.options.configuration
        let latents = chunk.noised.latents
        let shape = PoolShape(
            tokensPerFrame: model.transformer.config.tokensPerFrame(
                height: latents.size(3),
                width: latents.size(4)
            ),
            framesPerRow: configuration.cacheFrames
        )
        let pool = try pools[shape] ?? makePool(shape)
        pools[shape] = pool
        let plan = try DenoisingPlan(chunk.options, dtype: model.dtype, device: model.device)
        let rows = try acquireRows(plan, chunk.options, passes: plan.sequentialPasses, pool)
        return Lane(
            stream,
            pool,
            StreamDenoiser(plan, cacheRows: rows),
            chunk,
            deadline
        )
    }

    private func makePool(_ shape: PoolShape) throws -> Pool {
        Pool(
            try KVCachePool(
                model.transformer.config,
                rows: model.configuration.steps.count,
                frames: shape.framesPerRow,
                tokensPerFrame: shape.tokensPerFrame,
                dtype: model.dtype,
                device: model.device
            ),
            tokensPerFrame: shape.tokensPerFrame
        )
    }

    /// Acquires rows for a plan; the pool grows if too few are free.
    private func acquireRows(
        _ plan: DenoisingPlan,
        _ options: StreamOptions,
        passes: Int,
        _ pool: Pool
    ) throws(SwanError) -> [CacheRow] {
        let missing = plan.cacheRowCount - pool.cache.freeRowCount
        if missing > 0 {
            let rows = pool.cache.rowCount
            try pool.cache.grow(to: rows + max(missing, rows))
        }
        var cache = KVCacheOptions(options.configuration)
        cache.passes = passes
        return try pool.cache.acquireRows(plan.cacheRowCount, options: cache)
    }

    private func changePlan(of lane: Lane, to options: StreamOptions) throws {
        let plan = try DenoisingPlan(options, dtype: model.dtype, device: model.device)
        let rows = try acquireRows(plan, options, passes: plan.passes, lane.pool)
        let old = lane.denoiser.cacheRows
        try lane.denoiser.change(plan, cacheRows: rows, cache: &lane.pool.cache)
        try lane.pool.cache.releaseRows(old)
    }

    private func remove(_ lane: Lane) {
        lanes[lane.stream.id] = nil
        // Rows of a lane are always held.
        try? lane.pool.cache.releaseRows(lane.denoiser.cacheRows)
    }

    // MARK: - Passes

    /// Runs the work of the pool whose turn it is.
    private func pass(_ deliver: (Result) -> Void) -> [(SharedStream, any Error)] {
        let busy = lanes.values.filter { $0.denoiser.work != nil }
        guard let first = busy.min(by: { $0.deadline < $1.deadline }) else { return [] }
        let batch = busy.filter { $0.pool === first.pool }.sorted { $0.stream.id < $1.stream.id }
        do {
            try inference { try run(batch, deliver) }
            return []
        } catch {
            guard batch.count > 1 else { return batch.map { ($0.stream, error) } }
        }
        // Find out whose work it is that fails.
        var failures: [(SharedStream, any Error)] = []
        for lane in batch where lane.denoiser.work != nil {
            do {
                try inference { try run([lane], deliver) }
            } catch {
                failures.append((lane.stream, error))
            }
        }
        return failures
    }

    /// Runs the works of lanes of one pool in one forward pass for each shape of latents.
    private func run(_ batch: [Lane], _ deliver: (Result) -> Void) throws {
        guard let pool = batch.first?.pool else { return }
        let start = clock.now()
        let works = batch.compactMap { $0.denoiser.work }
        let flows = try forward(works, batch.map(\.stream.id), &pool.cache)
        let passSeconds = clock.seconds(since: start)
        let rows = works.reduce(0) { $0 + $1.timesteps.count }
        deliver(.ran(rows: rows, tokens: pool.tokensPerFrame, seconds: passSeconds))
        let seconds = passSeconds / Double(batch.count)
        for (lane, flow) in zip(batch, flows) {
            lane.seconds += seconds
            guard let latents = try lane.denoiser.finish(flow, cache: &pool.cache) else { continue }
            let (mark, tag) = lane.inFlight.removeFirst()
            var timed = mark
            timed.seconds.denoise = lane.seconds
            lane.seconds = 0
            deliver(.clean(lane.stream, CleanChunk(latents: latents, mark: timed), tag))
        }
    }

    /// Completes the chunks of a lane that are in flight.
    private func finishChunks(of lane: Lane, _ deliver: (Result) -> Void) throws {
        while lane.denoiser.work != nil { try run([lane], deliver) }
        while !lane.inFlight.isEmpty, try lane.denoiser.advance(text: lane.text) {
            try run([lane], deliver)
        }
    }

    private func drain(_ stream: SharedStream, _ deliver: (Result) -> Void) throws {
        if let lane = lanes[stream.id] { try finishChunks(of: lane, deliver) }
        deliver(.drained(stream))
    }
}

extension StreamOptions {
    /// Whether another plan of steps is needed.
    fileprivate func stepsDiffer(from other: StreamOptions) -> Bool {
        configuration.steps != other.configuration.steps
            || settings.streamBatch != other.settings.streamBatch
    }
}
