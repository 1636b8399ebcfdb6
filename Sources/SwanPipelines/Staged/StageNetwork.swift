import SwanDistributed
import SwanModels
import SwanSchedulers
import SwanSystem
import Torch
import TorchNN

/// The blocks that a rank runs, with their KV cache and the texts that rows attend to.
struct StageNetwork: ~Copyable {
    /// The blocks.
    var transformer: CausalWanTransformer
    /// Their cache.
    var cache: KVCachePool
    /// The cache's rows, one for each step that this rank runs in the stream batch.
    private(set) var cacheRows: [CacheRow]

    private struct Text {
        let embeddings: Tensor
        var conditioning: TextConditioning
    }

    private var plan: DenoisingPlan
    private let device: Device
    private var texts: [Int: Text] = [:]
    private var framesPerChunk: Int

    init(
        _ transformer: CausalWanTransformer,
        _ setup: StageSetup,
        rows: Int
    ) throws(SwanError) {
        self.transformer = transformer
        (plan, device) = (setup.plan, setup.device)
        framesPerChunk = setup.plan.framesPerChunk
        var options = setup.cache
        // The first chunk runs all its steps in one row.
        options.passes = setup.plan.steps.count
        var pool = try KVCachePool(
            transformer.config,
            rows: rows,
            frames: options.frames,
            tokensPerFrame: setup.tokensPerFrame,
            blocks: transformer.backbone.blocks,
            dtype: setup.dtype,
            device: setup.device
        )
        cacheRows = try pool.acquireRows(rows, options: options)
        cache = pool
    }

    // MARK: - Texts

    /// Prepares a text for rows to come.
    mutating func add(text number: Int, _ embeddings: Tensor) throws(SwanError) {
        let own = try embeddings.to(device)
        texts[number] = Text(embeddings: own, conditioning: try transformer.text(own))
    }

    /// Releases the texts before `oldest`.
    mutating func releaseTexts(before oldest: Int) {
        for number in texts.keys where number < oldest { texts[number] = nil }
    }

    /// Prepares all texts again, for other blocks.
    mutating func renewTexts() throws(SwanError) {
        for (number, text) in texts {
            texts[number]?.conditioning = try transformer.text(text.embeddings)
        }
    }

    private func text(of rows: [StageMessage.Row]) throws(SwanError) -> TextConditioning {
        var runs: [(text: TextConditioning, rows: Int)] = []
        var last: Int?
        for row in rows {
            if row.prompt == last {
                runs[runs.count - 1].rows += 1
                continue
            }
            guard let text = texts[row.prompt] else {
                throw SwanError(
                    .invalidData,
                    "a row needs prompt \(row.prompt), which did not come"
                )
            }
            runs.append((text.conditioning, 1))
            last = row.prompt
        }
        return runs.count == 1 ? runs[0].text : TextConditioning(joining: runs)
    }

    // MARK: - Rows

    /// What blocks and head need to know of rows with latents [B, C, F, h, w].
    func context(
        of rows: [StageMessage.Row],
        _ latents: Tensor
    ) throws(SwanError) -> BlockContext {
        let grid = try transformer.backbone.grid(of: latents)
        var embeddings: [TimestepEmbedding] = []
        for row in rows {
            let timesteps = plan.timesteps(around: row)
            let all = try transformer.backbone.embed(
                timesteps: Tensor(timesteps, [timesteps.count, 1]).to(latents.device),
                grid
            )
            embeddings.append(try all.row(row.step - row.company.lowerBound))
        }
        let rope = try RoPE(
            firstFrames: rows.map(\.start),
            frames: grid[0],
            height: grid[1],
            width: grid[2],
            headDim: transformer.config.headDim,
            device: latents.device
        )
        return BlockContext(
            timestep: try TimestepEmbedding(joining: embeddings),
            rope: rope,
            text: try text(of: rows)
        )
    }

    /// Runs this rank's blocks on tokens [B, L, C].
    ///
    /// - Parameter cacheRows: The cache's row for each row.
    mutating func run(
        _ x: Tensor,
        _ context: BlockContext,
        _ rows: [StageMessage.Row],
        frames: Int,
        cacheRows: [CacheRow]
    ) throws(SwanError) -> Tensor {
        try transformer.run(
            blocks: transformer.backbone.blocks,
            x,
            context,
            chunk: (rows.map(\.start), frames),
            cache: &cache,
            rows: cacheRows
        )
    }

    /// Changes the steps, with no chunk under way. The history is kept, as `StreamDenoiser.change` does.
    mutating func change(_ setup: StageSetup) throws(SwanError) {
        plan = setup.plan
        var options = setup.cache
        options.passes = plan.passes
        let missing = plan.cacheRowCount - cache.freeRowCount
        if missing > 0 { try cache.grow(to: cache.rowCount + missing) }
        let rows = try cache.acquireRows(plan.cacheRowCount, options: options)
        // The last row has seen the cleanest chunks.
        if let history = cacheRows.last { try cache.copyHistory(of: history, to: rows) }
        try cache.releaseRows(cacheRows)
        cacheRows = rows
    }

    /// Forgets the past at a cut, with no chunk under way.
    mutating func restart(_ setup: StageSetup, framesPerChunk: Int) throws(SwanError) {
        try cache.clearRows(cacheRows, passes: setup.plan.steps.count)
        self.framesPerChunk = framesPerChunk
    }

    /// Lays the cache out again if chunks have another length from now on.
    mutating func layOut(frames: Int) throws(SwanError) {
        guard frames != framesPerChunk else { return }
        framesPerChunk = frames
        try cache.layOut(cacheRows, framesPerChunk: frames)
    }
}

extension DenoisingPlan {
    /// Whether other steps, or another way to run them, take a new cache.
    func stepsDiffer(from other: DenoisingPlan) -> Bool {
        steps != other.steps || streamBatch != other.streamBatch
    }

    /// The timestep of a row.
    func timestep(of row: StageMessage.Row) -> Double { timestep(at: row.step, of: row) }

    /// The timesteps of all rows that one rank alone would run together with a row.
    func timesteps(around row: StageMessage.Row) -> [Double] {
        row.company.map { timestep(at: $0, of: row) }
    }

    private func timestep(at step: Int, of row: StageMessage.Row) -> Double {
        step == 0 ? row.firstTimestep : steps[step]
    }
}

/// From the flow of rows to what follows them.
struct StageFinish: Sendable {
    private var plan: DenoisingPlan
    /// The noise that is added between steps, by its number.
    private var noises: [Int: NoiseSource]

    init(plan: DenoisingPlan) { (self.plan, noises) = (plan, [0: plan.noise]) }

    /// Changes the steps of later rows, and the noise of those that have its number.
    mutating func change(_ plan: DenoisingPlan, noise number: Int) {
        (self.plan, noises[number]) = (plan, plan.noise)
    }

    /// A row's latents [1, C, F, h, w] and what they are.
    struct Result {
        let row: StageMessage.Row
        let latents: Tensor
        /// Whether the last step is done; otherwise they are noised for the next.
        let isFinished: Bool
    }

    /// Takes the flow [B, C, F, h, w] of noisy latents.
    func callAsFunction(
        _ flow: Tensor,
        _ latents: Tensor,
        _ rows: [StageMessage.Row]
    ) throws(SwanError) -> [Result] {
        let clean = try plan.schedule.clean(
            fromFlow: flow,
            latents,
            at: .rows(rows.map(plan.timestep(of:)))
        )
        var results: [Result] = []
        for (index, row) in rows.enumerated() {
            let own = try clean.narrowed(0, index, 1)
            guard row.step + 1 < plan.steps.count else {
                results.append(Result(row: row, latents: own, isFinished: true))
                continue
            }
            guard let noise = noises[row.noise] else {
                throw SwanError(.invalidData, "a row needs noise \(row.noise), which did not come")
            }
            let key = NoiseKey(chunk: row.chunk, step: row.step + 1)
            let noised = try plan.schedule.addNoise(
                own,
                noise(own.shape, key),
                at: .all(plan.steps[row.step + 1])
            )
            results.append(Result(row: row, latents: noised, isFinished: false))
        }
        return results
    }
}
