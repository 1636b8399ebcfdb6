package import SwanModels
package import SwanSchedulers
package import SwanSystem
package import Torch

/// The source of a stream's random numbers: returns standard normals of the given shape.
///
/// Equal keys yield equal numbers regardless of earlier calls, so a stream does not depend on which
/// thread, process or batch computes it.
package typealias NoiseSource =
    @Sendable (_ shape: [Int], _ key: NoiseKey) throws(SwanError) -> Tensor

/// The denoising schedule of a stream.
package struct DenoisingPlan: Sendable {
    /// The noise levels by timestep.
    package let schedule: FlowMatch
    /// The timesteps, in descending order.
    package let steps: [Double]
    /// Whether the steps run as rows of one batch, rather than sequentially.
    package let streamBatch: Bool
    /// The timestep at which a finished chunk runs once more for its keys; nil for none.
    package let contextTimestep: Double?
    /// The number of latent frames in chunks after the first.
    package let framesPerChunk: Int
    /// The standard normal noise that is added between steps.
    package let noise: NoiseSource

    /// Creates a plan.
    package init(
        schedule: FlowMatch,
        steps: [Double],
        streamBatch: Bool,
        contextTimestep: Double? = nil,
        framesPerChunk: Int = 1,
        noise: @escaping NoiseSource
    ) {
        self.schedule = schedule
        self.steps = steps
        // In a batch, newer chunks would need the clean content before it is there.
        self.streamBatch = streamBatch && contextTimestep == nil
        self.contextTimestep = contextTimestep
        self.framesPerChunk = framesPerChunk
        self.noise = noise
    }

    /// The number of KV cache rows that a stream needs.
    package var cacheRowCount: Int { streamBatch ? steps.count : 1 }

    /// The number of times that a chunk runs on one row, if its steps run one after another.
    package var sequentialPasses: Int { steps.count + (contextTimestep == nil ? 0 : 1) }

    /// The number of times that a chunk after the first runs on a row.
    package var passes: Int { streamBatch ? 1 : sequentialPasses }
}

/// Denoises a stream chunk by chunk, either as a stream batch or one step after another.
///
/// In a stream batch, each row of a forward pass holds a chunk at a different step: the newest
/// chunk enters row 0, and the one in the last row leaves finished. StreamDiffusionV2,
/// https://arxiv.org/abs/2511.07399.
///
/// It does not run the network itself: `add` or `advance` sets up `work`; the caller runs it and
/// passes the flow to `finish`, until there is no more work. This way rows of several streams can
/// share a forward pass. `SingleStreamDenoiser` runs one stream alone.
package struct StreamDenoiser: ~Copyable {
    /// A chunk in flight.
    private struct Row {
        var latents: Tensor  // [1, C, F, h, w]
        let start: Int
        /// The chunk's index in the stream; negative for the zeros that fill the lower rows until
        /// the first chunks reach them.
        let chunk: Int
        /// Whether no other chunk will see it.
        var endsShot = false

        var isChunk: Bool { chunk >= 0 }
    }

    /// The part of the denoising that `work` performs.
    private enum Stage {
        /// One step of a chunk that goes through all steps sequentially.
        case step(Int, of: Row)
        /// The additional run of a finished chunk, for its keys.
        case context(Tensor)
        /// One step of all chunks in a range of rows.
        case rows(Range<Int>)
    }

    /// The rows of the KV cache that hold the stream's history.
    package private(set) var cacheRows: [CacheRow]
    /// The next forward pass to run; `nil` while the denoiser waits for a chunk.
    package private(set) var work: DenoisingWork?

    private var plan: DenoisingPlan
    private var steps: [Double]
    private var framesPerChunk: Int
    private var stage = Stage.rows(0..<0)
    private var rows: [Row?] = []
    /// The next chunk's index in the stream.
    private var chunk = 0
    /// Whether the next chunk has no past.
    private var isFirst = true
    /// The position of the next chunk's first latent frame.
    package internal(set) var position = 0
    /// The most recent chunk's first latent frame.
    private var example: Tensor?

    /// Creates a denoiser at the start of a stream.
    ///
    /// - Parameter cacheRows: As many rows as the plan needs, with a pass for each step.
    package init(_ plan: DenoisingPlan, cacheRows: [CacheRow]) {
        self.plan = plan
        self.cacheRows = cacheRows
        steps = plan.steps
        framesPerChunk = plan.framesPerChunk
    }

    // MARK: - Work

    /// Adds the next chunk [1, C, F, h, w]. There must be no work left.
    ///
    /// The first chunk goes through all steps at once and fills the caches of all rows.
    ///
    /// - Parameter firstTimestep: The timestep of the first step from now on, if it changes;
    ///   ignored for the first chunk.
    /// - Parameter endsShot: Whether no other chunk will see this one, so that its keys are of no
    ///   use.
    package mutating func add(
        _ latents: Tensor,
        firstTimestep: Int? = nil,
        endsShot: Bool = false,
        text: TextConditioning
    ) throws(SwanError) {
        if let firstTimestep, !isFirst { steps[0] = Double(firstTimestep) }
        let row = Row(latents: latents, start: position, chunk: chunk, endsShot: endsShot)
        if plan.streamBatch, !isFirst {
            try move(row, text)
        } else {
            begin(step: 0, of: row, text)
        }
        example = try latents.narrowed(2, 0, 1)
        position += latents.size(2)
        chunk += 1
        isFirst = false
    }

    /// Sets up one more step for the chunks in flight. There must be no work left.
    ///
    /// - Returns: `false` if no chunk is in flight.
    package mutating func advance(text: TextConditioning) throws(SwanError) -> Bool {
        guard hasChunksInFlight else { return false }
        try move(nil, text)
        return true
    }

    /// Completes `work` with the flow that the network predicted for it.
    ///
    /// - Returns: The clean latents of the chunk that this completes, if any, [1, C, F, h, w].
    package mutating func finish(
        _ flow: Tensor,
        cache: inout KVCachePool
    ) throws(SwanError) -> Tensor? {
        guard let work else { return nil }
        self.work = nil
        if case .context(let finished) = stage { return finished }
        let clean = try plan.schedule.clean(fromFlow: flow, work.latents, at: .rows(work.timesteps))
        switch stage {
        case .step(let index, let row):
            guard index + 1 < steps.count else {
                if let timestep = plan.contextTimestep {
                    if row.endsShot { return clean }
                    try keep(clean, of: row, at: timestep, work.text)
                    return nil
                }
                if plan.streamBatch {
                    if let first = cacheRows.first { try cache.spread(first, over: cacheRows) }
                    try fillRows()
                }
                return clean
            }
            let next = try noised(clean, row, step: index + 1)
            begin(step: index + 1, of: next, work.text)
            return nil
        case .context(let finished): return finished
        case .rows(let range): return try finish(range, clean)
        }
    }

    /// Whether chunks have entered that have not left.
    package var hasChunksInFlight: Bool {
        rows.dropLast().contains { $0?.isChunk ?? false }
    }

    /// Changes the steps, with no chunk in flight (see `advance`). The history is kept.
    ///
    /// - Parameter newRows: As many rows as the plan needs, with one pass for each step unless the
    ///   steps run as rows of one batch.
    package mutating func change(
        _ plan: DenoisingPlan,
        cacheRows newRows: [CacheRow],
        cache: inout KVCachePool
    ) throws(SwanError) {
        // The last row has seen the cleanest chunks.
        if !isFirst, let history = cacheRows.last {
            try cache.copyHistory(of: history, to: newRows)
        }
        self.plan = plan
        steps = plan.steps
        cacheRows = newRows
        if plan.streamBatch, !isFirst { try fillRows() } else { rows = [] }
    }

    /// Changes the noise that is added between steps.
    package mutating func changeNoise(_ noise: @escaping NoiseSource) {
        plan = DenoisingPlan(
            schedule: plan.schedule,
            steps: plan.steps,
            streamBatch: plan.streamBatch,
            contextTimestep: plan.contextTimestep,
            framesPerChunk: plan.framesPerChunk,
            noise: noise
        )
    }

    /// Changes the chunk length to `frames` latent frames, with no chunk in flight (see `advance`).
    package mutating func changeChunk(
        frames: Int,
        cache: inout KVCachePool
    ) throws(SwanError) {
        framesPerChunk = frames
        try cache.layOut(cacheRows, framesPerChunk: frames)
    }

    /// Forgets the past, with no chunk in flight (see `advance`): the next chunk is the first of
    /// a scene.
    ///
    /// - Parameter framesPerChunk: The latent frames of later chunks; nil for as many as before.
    package mutating func restart(
        _ cache: inout KVCachePool,
        framesPerChunk: Int? = nil
    ) throws(SwanError) {
        guard !isFirst else { return }
        try cache.clearRows(cacheRows, passes: plan.sequentialPasses)
        self.framesPerChunk = framesPerChunk ?? self.framesPerChunk
        (steps, rows, position) = (plan.steps, [], 0)
        isFirst = true
    }

    // MARK: - Sequential steps

    /// Sets up a step of one chunk, which uses the same slots of the first row as its other steps.
    private mutating func begin(step: Int, of row: Row, _ text: TextConditioning) {
        stage = .step(step, of: row)
        work = DenoisingWork(
            latents: row.latents,
            timesteps: [steps[step]],
            firstFrames: [row.start],
            text: text,
            cacheRows: Array(cacheRows.prefix(1))
        )
    }

    private func noised(_ clean: Tensor, _ row: Row, step: Int) throws(SwanError) -> Row {
        var next = row
        next.latents = try noised(clean, row, step, at: steps[step])
        return next
    }

    private func noised(
        _ clean: Tensor,
        _ row: Row,
        _ step: Int,
        at timestep: Double
    ) throws(SwanError) -> Tensor {
        let noise = try plan.noise(clean.shape, NoiseKey(chunk: row.chunk, step: step))
        return try plan.schedule.addNoise(clean, noise, at: .all(timestep))
    }

    /// Sets up the run of a finished chunk whose keys replace those of its last step.
    private mutating func keep(
        _ clean: Tensor,
        of row: Row,
        at timestep: Double,
        _ text: TextConditioning
    ) throws(SwanError) {
        stage = .context(clean)
        work = DenoisingWork(
            // The table of noise levels has none of 0.
            latents: timestep > 0 ? try noised(clean, row, steps.count, at: timestep) : clean,
            timesteps: [timestep],
            firstFrames: [row.start],
            text: text,
            cacheRows: Array(cacheRows.prefix(1))
        )
    }

    /// Fills the rows with zeros, which the first chunks push out.
    private mutating func fillRows() throws(SwanError) {
        guard let example else { return }
        let zeros = try example.zerosLike().repeated([1, 1, framesPerChunk, 1, 1])
        rows = steps.indices.map { Row(latents: zeros, start: position, chunk: -1 - $0) }
    }

    // MARK: - Stream batch

    /// Moves every chunk down one row and sets up a step of the occupied rows.
    private mutating func move(
        _ incoming: Row?,
        _ text: TextConditioning
    ) throws(SwanError) {
        rows.removeLast()
        rows.insert(incoming, at: 0)
        // Rows are empty above the last chunk of a stream, and below the first one after a drain.
        let active = rows.indices.filter { rows[$0] != nil }
        guard let first = active.first, let last = active.last else { return }
        let chunks = rows[first...last].compactMap(\.self)
        stage = .rows(first..<last + 1)
        work = DenoisingWork(
            latents: try concatenated(chunks.map(\.latents)),
            timesteps: Array(steps[first...last]),
            firstFrames: chunks.map(\.start),
            text: text,
            cacheRows: Array(cacheRows[first...last])
        )
    }

    private mutating func finish(_ range: Range<Int>, _ clean: Tensor) throws(SwanError) -> Tensor?
    {
        for index in range where index + 1 < rows.count {
            guard let row = rows[index] else { continue }
            let own = try clean.narrowed(0, index - range.lowerBound, 1)
            rows[index] = try noised(own, row, step: index + 1)
        }
        let last = range.upperBound - 1
        guard range.upperBound == rows.count, rows[last]?.isChunk ?? false else { return nil }
        return try clean.narrowed(0, range.count - 1, 1)
    }
}
