public import SwanSystem
public import Torch
public import TorchNN

/// The causal video transformer: a block of frames sees itself and the past.
///
/// CausVid, https://arxiv.org/abs/2412.07772, section 4; StreamDiffusionV2,
/// https://arxiv.org/abs/2511.07399.
public struct CausalWanTransformer: Sendable {
    /// The network in parts; see `WanBackbone`.
    public let backbone: WanBackbone

    /// The configuration.
    public var config: WanConfig { backbone.config }

    /// Loads the network under a path, with the key names of the original checkpoints.
    ///
    /// - Parameter blocks: The blocks that this instance holds; nil for all. The weights of other
    ///   blocks are not read. An instance with a subset of the blocks is run in parts, through
    ///   `backbone`.
    public init(
        _ weights: Weights,
        _ config: WanConfig,
        blocks: Range<Int>? = nil
    ) throws(SwanError) {
        backbone = try WanBackbone(weights, config, blocks: blocks)
    }

    private init(_ backbone: WanBackbone) { self.backbone = backbone }

    /// The same network that holds other blocks: its own and those of `others`.
    package func holding(
        _ blocks: Range<Int>,
        with others: [CausalWanTransformer]
    ) throws(SwanError) -> CausalWanTransformer {
        CausalWanTransformer(try backbone.holding(blocks, with: others.map(\.backbone)))
    }

    /// Conditions the network on text embeddings [B, T, textDim] of at most `textLen` tokens.
    ///
    /// A batch of one applies to every row. Rows of zeros are padding.
    ///
    /// - Parameter recomputing: Whether keys and values are computed again in the backward pass, so
    ///   that weights that are read late are not kept.
    public func text(
        _ embeddings: Tensor,
        recomputing: Bool = false
    ) throws(SwanError) -> TextConditioning {
        try backbone.text(embeddings, recomputing: recomputing)
    }

    /// The training form: all frames at once, with attention in blocks of frames.
    ///
    /// - Parameters:
    ///   - latents: [B, inDim, F, H, W].
    ///   - timesteps: [B, F], 0 ... 1000.
    ///   - framesPerBlock: The number of latent frames that see each other in both directions; the
    ///     last block may be shorter.
    ///   - window: The maximum number of frames that a block sees, including itself and `sinks`; nil
    ///     for the whole past.
    ///   - sinks: The first frames, which every block sees.
    ///   - firstFrame: The position of the first frame.
    ///   - recomputing: Whether the blocks are recomputed in the backward pass, so that their
    ///     activations are not kept.
    /// - Returns: The flow [B, outDim, F, H, W].
    public func callAsFunction(
        _ latents: Tensor,
        timesteps: Tensor,
        text: TextConditioning,
        framesPerBlock: Int = 1,
        window: Int? = nil,
        sinks: Int = 0,
        firstFrame: Int = 0,
        recomputing: Bool = false
    ) throws(SwanError) -> Tensor {
        let grid = try backbone.grid(of: latents)
        let rope = try RoPE(
            firstFrames: [firstFrame],
            frames: grid[0],
            height: grid[1],
            width: grid[2],
            headDim: config.headDim,
            device: latents.device
        )
        let attend = try BlockCausalAttention(
            frames: grid[0],
            tokensPerFrame: grid[1] * grid[2],
            framesPerBlock: framesPerBlock,
            window: window,
            sinks: sinks
        )
        return try backbone(
            latents,
            timesteps: timesteps,
            text: text,
            rope: rope,
            recomputing: recomputing
        ) { _, q, k, v throws(SwanError) in try attend(q, k, v) }
    }

    /// The streaming form: a chunk of frames for each row, with the past in `cache`.
    ///
    /// - Parameters:
    ///   - latents: [B, inDim, F, H, W].
    ///   - timesteps: One for each row of the batch.
    ///   - text: One for all rows, or one for each; see `TextConditioning.init(joining:)`.
    ///   - firstFrames: The position of each row's first frame in its stream; there is no maximum.
    ///   - rows: The cache's row for each row of the batch.
    /// - Returns: The flow [B, outDim, F, H, W].
    public func callAsFunction(
        _ latents: Tensor,
        timesteps: [Double],
        text: TextConditioning,
        firstFrames: [Int],
        cache: inout KVCachePool,
        rows: [CacheRow]
    ) throws(SwanError) -> Tensor {
        let grid = try backbone.grid(of: latents)
        let places = try cache.places(rows, firstFrames: firstFrames, frames: grid[0])
        let rope = try RoPE(
            firstFrames: firstFrames,
            frames: grid[0],
            height: grid[1],
            width: grid[2],
            headDim: config.headDim,
            device: latents.device
        )
        let steps = try Tensor(timesteps, [timesteps.count, 1]).to(latents.device)
        return try backbone(latents, timesteps: steps, text: text, rope: rope) {
            block,
            q,
            k,
            v throws(SwanError) in try cache.attend(block, q, k, v, places)
        }
    }

    /// Runs a part of the streaming form: tokens [B, L, C] of a chunk for each row through a range
    /// of blocks, with the past in `cache`, which must hold these blocks.
    ///
    /// - Parameters:
    ///   - context: The context, with the positions of each row's frames in its stream.
    ///   - chunk: Each row's first frame, as in `context`, and the latent frames of a chunk.
    public func run(
        blocks: Range<Int>,
        _ x: Tensor,
        _ context: BlockContext,
        chunk: (firstFrames: [Int], frames: Int),
        cache: inout KVCachePool,
        rows: [CacheRow]
    ) throws(SwanError) -> Tensor {
        let places = try cache.places(rows, firstFrames: chunk.firstFrames, frames: chunk.frames)
        return try backbone.run(blocks: blocks, x, context) {
            block,
            q,
            k,
            v throws(SwanError) in try cache.attend(block, q, k, v, places)
        }
    }
}
