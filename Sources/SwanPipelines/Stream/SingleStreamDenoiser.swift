public import SwanModels
import SwanSchedulers
public import SwanSystem
public import Torch

/// The denoising of one stream that shares its network's forwards with no other.
public struct SingleStreamDenoiser: ~Copyable {
    private let transformer: CausalWanTransformer
    private var cache: KVCachePool
    private var denoiser: StreamDenoiser

    /// A denoiser at the beginning of a stream, with a KV cache for it alone.
    ///
    /// - Parameters:
    ///   - cache: the KV cache's frames and sinks.
    ///   - tokensPerFrame: tokens of a latent frame.
    public init(
        _ transformer: CausalWanTransformer,
        _ plan: DenoisingPlan,
        cache options: KVCacheOptions,
        tokensPerFrame: Int,
        dtype: DType = .float32,
        device: Device = .cpu
    ) throws(SwanError) {
        var options = options
        options.passes = plan.steps.count
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

    /// Bytes of the KV cache.
    public var cacheByteCount: Int { cache.byteCount }

    /// The position of the next chunk's first latent frame.
    public internal(set) var position: Int {
        get { denoiser.position }
        set { denoiser.position = newValue }
    }

    /// The next chunk [1, C, F, h, w].
    ///
    /// - Parameter firstTimestep: the timestep of the first step from now on, if it changes.
    /// - Returns: the chunk that is finished by this, [1, C, F, h, w]; nil while the rows fill.
    public mutating func denoise(
        _ latents: Tensor,
        firstTimestep: Int? = nil,
        text: TextConditioning
    ) throws(SwanError) -> Tensor? {
        try denoiser.add(latents, firstTimestep: firstTimestep, text: text)
        return try run()
    }

    /// More steps for the chunks on their way, with no new one.
    ///
    /// - Returns: the chunk that is finished by this; nil when none is left.
    public mutating func drain(text: TextConditioning) throws(SwanError) -> Tensor? {
        while try denoiser.advance(text: text) {
            if let finished = try run() { return finished }
        }
        return nil
    }

    /// Makes room for chunks of `frames` latent frames. All chunks must have left: see `drain`.
    public mutating func changeChunk(frames: Int) throws(SwanError) {
        try denoiser.changeChunk(frames: frames, cache: &cache)
    }

    private mutating func run() throws(SwanError) -> Tensor? {
        var finished: Tensor?
        while let work = denoiser.work {
            let flow = try transformer(work, cache: &cache)
            finished = try denoiser.finish(flow, cache: &cache)
        }
        return finished
    }
}
