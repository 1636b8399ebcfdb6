package import SwanModels
import SwanSchedulers
package import SwanSystem
package import Torch

/// Denoises a single stream that does not share forward passes with others.
package struct SingleStreamDenoiser: ~Copyable {
    /// The network; another one has to be of the same size.
    package var transformer: CausalWanTransformer
    private var cache: KVCachePool
    private var denoiser: StreamDenoiser

    /// Creates a denoiser at the start of a stream, with its own KV cache.
    ///
    /// - Parameters:
    ///   - cache: The number of frames and sink frames in the KV cache.
    ///   - tokensPerFrame: The number of tokens in a latent frame.
    package init(
        _ transformer: CausalWanTransformer,
        _ plan: DenoisingPlan,
        cache options: KVCacheOptions,
        tokensPerFrame: Int,
        dtype: DType = .float32,
        device: Device = .cpu
    ) throws(SwanError) {
        var options = options
        options.passes = plan.sequentialPasses
        options.endsClean = plan.contextTimestep != nil
        var pool = try KVCachePool(
            transformer.config,
            rows: plan.cacheRowCount,
            frames: options.frames,
            tokensPerFrame: tokensPerFrame,
            dtype: dtype,
            device: device
        )
        let rows = try pool.acquireRows(plan.cacheRowCount, options: options)
        self.transformer = transformer
        cache = pool
        denoiser = StreamDenoiser(plan, cacheRows: rows)
    }

    /// The size of the KV cache in bytes.
    package var cacheByteCount: Int { cache.byteCount }

    /// The position of the next chunk's first latent frame.
    package internal(set) var position: Int {
        get { denoiser.position }
        set { denoiser.position = newValue }
    }

    /// Denoises the next chunk [1, C, F, h, w].
    ///
    /// - Parameters:
    ///   - firstTimestep: The timestep of the first step from now on, if it changes.
    ///   - startsShot: Whether the chunk has no past.
    ///   - endsShot: Whether no other chunk will see this one.
    ///   - isAborted: Called before each step; after `true`, the chunk is left unfinished, and the denoiser is of no
    ///     further use.
    /// - Returns: The chunk that this completes, [1, C, F, h, w]; `nil` while the rows fill.
    package mutating func denoise(
        _ latents: Tensor,
        firstTimestep: Int? = nil,
        startsShot: Bool = false,
        endsShot: Bool = false,
        text: TextConditioning,
        isAborted: () -> Bool = { false }
    ) throws(SwanError) -> Tensor? {
        if startsShot { try denoiser.restart(&cache) }
        try denoiser.add(
            latents,
            firstTimestep: firstTimestep,
            endsShot: endsShot,
            text: text
        )
        return try run(isAborted)
    }

    /// Advances the chunks in flight without adding a new one.
    ///
    /// - Returns: The chunk that this completes; `nil` when none is left.
    package mutating func drain(
        text: TextConditioning,
        isAborted: () -> Bool = { false }
    ) throws(SwanError) -> Tensor? {
        while !isAborted(), try denoiser.advance(text: text) {
            if let finished = try run(isAborted) { return finished }
        }
        return nil
    }

    /// Changes the chunk length to `frames` latent frames, with no chunk in flight (see `drain`).
    package mutating func changeChunk(frames: Int) throws(SwanError) {
        try denoiser.changeChunk(frames: frames, cache: &cache)
    }

    /// Forgets the past, with no chunk in flight (see `drain`).
    ///
    /// - Parameter framesPerChunk: The latent frames of chunks after the next.
    package mutating func restart(framesPerChunk: Int) throws(SwanError) {
        try denoiser.restart(&cache, framesPerChunk: framesPerChunk)
    }

    private mutating func run(_ isAborted: () -> Bool) throws(SwanError) -> Tensor? {
        var finished: Tensor?
        while let work = denoiser.work, !isAborted() {
            let flow = try transformer(work, cache: &cache)
            finished = try denoiser.finish(flow, cache: &cache)
        }
        return finished
    }
}
