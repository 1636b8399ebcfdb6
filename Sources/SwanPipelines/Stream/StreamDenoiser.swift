import SwanModels
import SwanSchedulers
import Torch

/// The denoising of a stream, chunk by chunk, in stream batch or step after step.
///
/// In stream batch every row of one forward is a chunk at another step: the newest enters row 0, and the
/// one in the last row leaves finished. StreamDiffusionV2, https://arxiv.org/abs/2511.07399.
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

    private let transformer: CausalWanTransformer
    private let schedule: FlowMatch
    private let streamBatch: Bool
    private let noise: NoiseSource
    private var steps: [Double]
    private var cache: KVCache
    private var rows: [Row?] = []
    private var framesPerChunk = 0
    /// The next chunk's place in the stream.
    private var chunk = 0
    /// The position of the next chunk's first latent frame.
    public internal(set) var position = 0

    /// A denoiser at the beginning of a stream.
    ///
    /// - Parameters:
    ///   - steps: timesteps, falling.
    ///   - streamBatch: whether the steps run as rows of one batch; otherwise one after the other.
    ///   - cache: the KV cache's frames and sinks.
    ///   - tokensPerFrame: tokens of a latent frame.
    ///   - noise: standard normals for the re-noising between steps.
    public init(
        _ transformer: CausalWanTransformer,
        schedule: FlowMatch,
        steps: [Double],
        streamBatch: Bool,
        cache options: KVCacheOptions,
        tokensPerFrame: Int,
        dtype: DType = .float32,
        device: Device = .cpu,
        noise: @escaping NoiseSource
    ) throws(TorchError) {
        self.transformer = transformer
        self.schedule = schedule
        self.steps = steps
        self.streamBatch = streamBatch
        self.noise = noise
        var options = options
        options.passes = steps.count
        cache = try KVCache(
            transformer.config,
            rows: streamBatch ? steps.count : 1,
            tokensPerFrame: tokensPerFrame,
            options: options,
            dtype: dtype,
            device: device
        )
    }

    /// Bytes of the KV cache.
    public var cacheByteCount: Int { cache.byteCount }

    /// The first chunk [1, C, F, h, w], through all steps at once; it fills the caches of all rows.
    ///
    /// - Parameter nextFrames: latent frames of the chunks that follow.
    /// - Returns: the clean latents.
    public mutating func prepare(
        _ latents: Tensor,
        text: TextConditioning,
        nextFrames: Int = 1
    ) throws(TorchError) -> Tensor {
        let clean = try denoiseStepByStep(latents, text)
        position += latents.size(2)
        chunk += 1
        framesPerChunk = nextFrames
        guard streamBatch else { return clean }
        try cache.spread()
        let zeros = try latents.narrowed(2, 0, 1).zerosLike()
            .repeated([1, 1, nextFrames, 1, 1])
        rows = steps.indices.map { Row(latents: zeros, start: position, chunk: -1 - $0) }
        return clean
    }

    /// The next chunk [1, C, F, h, w].
    ///
    /// - Parameter firstTimestep: the timestep of the first step from now on, if it changes.
    /// - Returns: the chunk that is finished by this, [1, C, F, h, w]; nil while the rows fill.
    public mutating func denoise(
        _ latents: Tensor,
        firstTimestep: Int? = nil,
        text: TextConditioning
    ) throws(TorchError) -> Tensor? {
        if let firstTimestep { steps[0] = Double(firstTimestep) }
        defer {
            position += latents.size(2)
            chunk += 1
        }
        guard streamBatch else { return try denoiseStepByStep(latents, text) }
        return try advance(Row(latents: latents, start: position, chunk: chunk), text)
    }

    /// One more step for the chunks on their way, with no new one.
    ///
    /// - Returns: the chunk that is finished by this; nil when none is left.
    public mutating func drain(text: TextConditioning) throws(TorchError) -> Tensor? {
        while rows.dropLast().contains(where: { $0?.isChunk ?? false }) {
            if let finished = try advance(nil, text) { return finished }
        }
        return nil
    }

    /// Makes room for chunks of `frames` latent frames. All chunks must have left: see `drain`.
    public mutating func changeChunk(frames: Int) {
        framesPerChunk = frames
        cache.relist(frames: frames)
    }

    /// All steps of one chunk, over the same slots of the first row.
    private mutating func denoiseStepByStep(
        _ latents: Tensor,
        _ text: TextConditioning
    ) throws(TorchError) -> Tensor {
        var x = latents
        for (index, step) in steps.enumerated() {
            let clean = try predict(x, [step], [position], firstRow: 0, text)
            guard index + 1 < steps.count else { return clean }
            let key = NoiseKey(chunk: chunk, step: index + 1)
            x = try schedule.addNoise(clean, noise(clean.shape, key), at: .all(steps[index + 1]))
        }
        return x
    }

    /// Moves every chunk one row down and runs the rows that hold something in one batch.
    private mutating func advance(
        _ incoming: Row?,
        _ text: TextConditioning
    ) throws(TorchError) -> Tensor? {
        rows.removeLast()
        rows.insert(incoming, at: 0)
        // Rows are empty above the last chunk of a stream, and below the first after a drain.
        let active = rows.indices.filter { rows[$0] != nil }
        guard let first = active.first, let last = active.last else { return nil }
        let chunks = rows[first...last].compactMap(\.self)
        let clean = try predict(
            concatenated(chunks.map(\.latents)),
            Array(steps[first...last]),
            chunks.map(\.start),
            firstRow: first,
            text
        )
        for (place, row) in chunks.enumerated() where first + place + 1 < rows.count {
            let step = first + place + 1
            let own = try clean.narrowed(0, place, 1)
            let key = NoiseKey(chunk: row.chunk, step: step)
            rows[first + place]?.latents = try schedule.addNoise(
                own,
                noise(own.shape, key),
                at: .all(steps[step])
            )
        }
        guard last + 1 == rows.count, rows[last]?.isChunk ?? false else { return nil }
        return try clean.narrowed(0, last - first, 1)
    }

    /// The clean latents that the flow of every row points to.
    private mutating func predict(
        _ x: Tensor,
        _ timesteps: [Double],
        _ starts: [Int],
        firstRow: Int,
        _ text: TextConditioning
    ) throws(TorchError) -> Tensor {
        let flow = try transformer(
            x,
            timesteps: timesteps,
            text: text,
            firstFrames: starts,
            cache: &cache,
            firstRow: firstRow
        )
        return try schedule.clean(fromFlow: flow, x, at: .rows(timesteps))
    }
}
