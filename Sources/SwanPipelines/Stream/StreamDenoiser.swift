public import SwanModels
public import SwanSchedulers
public import SwanSystem
public import Torch

/// How a stream is denoised.
public struct DenoisingPlan: Sendable {
    /// Noise levels by timestep.
    public let schedule: FlowMatch
    /// Timesteps, falling.
    public let steps: [Double]
    /// Whether the steps run as rows of one batch; otherwise one after the other.
    public let streamBatch: Bool
    /// Latent frames of the chunks after the first.
    public let framesPerChunk: Int
    /// Standard normals for the re-noising between steps.
    public let noise: NoiseSource

    /// A plan of these parts.
    public init(
        schedule: FlowMatch,
        steps: [Double],
        streamBatch: Bool,
        framesPerChunk: Int = 1,
        noise: @escaping NoiseSource
    ) {
        self.schedule = schedule
        self.steps = steps
        self.streamBatch = streamBatch
        self.framesPerChunk = framesPerChunk
        self.noise = noise
    }

    /// Rows of a KV cache that a stream needs.
    public var cacheRowCount: Int { streamBatch ? steps.count : 1 }
}

/// The denoising of a stream, chunk by chunk, in stream batch or step after step.
///
/// In stream batch every row of one forward is a chunk at another step: the newest enters row 0, and the
/// one in the last row leaves finished. StreamDiffusionV2, https://arxiv.org/abs/2511.07399.
///
/// It runs no network: `add` or `advance` set up `work`, and whoever runs that hands the flow to `finish`,
/// until there is no more work. So rows of several streams can share a forward; `SingleStreamDenoiser` runs
/// one stream alone.
public struct StreamDenoiser: ~Copyable {
    /// A chunk on its way through the rows.
    private struct Row {
        var latents: Tensor  // [1, C, F, h, w]
        let start: Int
        /// The chunk's place in the stream; negative for the zeros that fill the rows below before the first
        /// chunk has come down.
        let chunk: Int

        var isChunk: Bool { chunk >= 0 }
    }

    /// Which part of the denoising `work` is.
    private enum Stage {
        /// A step of a chunk that goes through all of them, one after the other.
        case step(Int, of: Row)
        /// One step of the chunks in a range of the rows.
        case rows(Range<Int>)
    }

    /// The rows of the KV cache that hold the stream's past.
    public let cacheRows: [CacheRow]
    /// What is to be run next; nil while the denoiser waits for a chunk.
    public private(set) var work: DenoisingWork?

    private let plan: DenoisingPlan
    private var steps: [Double]
    private var framesPerChunk: Int
    private var stage = Stage.rows(0..<0)
    private var rows: [Row?] = []
    /// The next chunk's place in the stream.
    private var chunk = 0
    /// The position of the next chunk's first latent frame.
    public internal(set) var position = 0

    /// A denoiser at the beginning of a stream.
    ///
    /// - Parameter cacheRows: as many as the plan needs, with a pass for each step.
    public init(_ plan: DenoisingPlan, cacheRows: [CacheRow]) {
        self.plan = plan
        self.cacheRows = cacheRows
        steps = plan.steps
        framesPerChunk = plan.framesPerChunk
    }

    // MARK: - What is run

    /// Takes the next chunk [1, C, F, h, w], when there is no work left.
    ///
    /// The first chunk goes through all steps at once and fills the caches of all rows.
    ///
    /// - Parameter firstTimestep: the timestep of the first step from now on, if it changes; the first chunk
    ///   changes nothing.
    public mutating func add(
        _ latents: Tensor,
        firstTimestep: Int? = nil,
        text: TextConditioning
    ) throws(SwanError) {
        if let firstTimestep, chunk > 0 { steps[0] = Double(firstTimestep) }
        let row = Row(latents: latents, start: position, chunk: chunk)
        if plan.streamBatch, chunk > 0 {
            try move(row, text)
        } else {
            begin(step: 0, of: row, text)
        }
        position += latents.size(2)
        chunk += 1
    }

    /// Sets up one more step for the chunks on their way, with no new one, when there is no work left.
    ///
    /// - Returns: false when no chunk is on its way.
    public mutating func advance(text: TextConditioning) throws(SwanError) -> Bool {
        guard rows.dropLast().contains(where: { $0?.isChunk ?? false }) else { return false }
        try move(nil, text)
        return true
    }

    /// Takes the flow that `work` has given.
    ///
    /// - Returns: the clean latents of the chunk that is finished by it, [1, C, F, h, w].
    public mutating func finish(
        _ flow: Tensor,
        cache: inout KVCachePool
    ) throws(SwanError) -> Tensor? {
        guard let work else { return nil }
        self.work = nil
        let clean = try plan.schedule.clean(fromFlow: flow, work.latents, at: .rows(work.timesteps))
        switch stage {
        case .step(let index, let row):
            guard index + 1 < steps.count else {
                if plan.streamBatch { try fillRows(like: row.latents, &cache) }
                return clean
            }
            let next = try noised(clean, row, step: index + 1)
            begin(step: index + 1, of: next, work.text)
            return nil
        case .rows(let range): return try finish(range, clean)
        }
    }

    /// Makes room for chunks of `frames` latent frames. All chunks must have left: see `advance`.
    public mutating func changeChunk(
        frames: Int,
        cache: inout KVCachePool
    ) throws(SwanError) {
        framesPerChunk = frames
        try cache.layOut(cacheRows, framesPerChunk: frames)
    }

    // MARK: - Step after step

    /// A step of one chunk, over the same slots of the first row as its other steps.
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
        let key = NoiseKey(chunk: row.chunk, step: step)
        next.latents = try plan.schedule.addNoise(
            clean,
            plan.noise(clean.shape, key),
            at: .all(steps[step])
        )
        return next
    }

    /// Gives all rows the past of the first, and zeros to go on with.
    private mutating func fillRows(
        like latents: Tensor,
        _ cache: inout KVCachePool
    ) throws(SwanError) {
        if let first = cacheRows.first { try cache.spread(first, over: cacheRows) }
        let zeros = try latents.narrowed(2, 0, 1).zerosLike()
            .repeated([1, 1, framesPerChunk, 1, 1])
        rows = steps.indices.map { Row(latents: zeros, start: position, chunk: -1 - $0) }
    }

    // MARK: - Stream batch

    /// Moves every chunk one row down and sets up a step of the rows that hold something.
    private mutating func move(
        _ incoming: Row?,
        _ text: TextConditioning
    ) throws(SwanError) {
        rows.removeLast()
        rows.insert(incoming, at: 0)
        // Rows are empty above the last chunk of a stream, and below the first after a drain.
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
