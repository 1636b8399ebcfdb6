public import SwanSystem
public import Torch
public import TorchNN

/// The bidirectional video transformer of Wan 2.1 and 2.2: every token sees every token.
public struct WanTransformer: Sendable {
    /// The network in parts: see `WanBackbone`.
    public let backbone: WanBackbone

    /// The sizes.
    public var config: WanConfig { backbone.config }

    /// The network under a path, in the key names of the original checkpoints.
    ///
    /// - Parameter blocks: the blocks that this instance holds; nil for all. No other block's weights
    ///   are read, and an instance with a part of the blocks is run in parts, by `backbone`.
    public init(
        _ weights: Weights,
        _ config: WanConfig,
        blocks: Range<Int>? = nil
    ) throws(SwanError) {
        backbone = try WanBackbone(weights, config, blocks: blocks)
    }

    /// Text embeddings [B, T, textDim] of at most `textLen` tokens -> what the network attends to.
    ///
    /// A batch of one serves every row. Zero rows are padding.
    ///
    /// - Parameter image: tokens of the images the video begins (and ends) with [B, P, imageDim], for
    ///   the models that see them (`config.imageDim`) and only for these.
    public func text(
        _ embeddings: Tensor,
        image: Tensor? = nil
    ) throws(SwanError) -> TextConditioning {
        try backbone.text(embeddings, image: image)
    }

    /// The flow that the network predicts for noisy latents.
    ///
    /// - Parameters:
    ///   - latents: [B, inDim, F, H, W].
    ///   - timesteps: 0 ... 1000 as [B]; [B, F] or [B, L] where every latent frame or every token has
    ///     its own (Wan 2.2 TI2V-5B). The fewer there are, the less is computed.
    ///   - cache: what earlier steps computed, to be reused where it has hardly changed.
    ///   - recomputing: whether gradients compute the blocks again, so that nothing is kept of them.
    /// - Returns: [B, outDim, F, H, W].
    public func callAsFunction(
        _ latents: Tensor,
        timesteps: Tensor,
        text: TextConditioning,
        cache: FirstBlockCache? = nil,
        recomputing: Bool = false
    ) throws(SwanError) -> Tensor {
        try backbone(
            latents,
            timesteps: timesteps,
            text: text,
            rope: backbone.rope(backbone.grid(of: latents), latents.device),
            cache: cache,
            recomputing: recomputing
        ) { _, q, k, v throws(SwanError) in try attention(q, k, v) }
    }
}
