public import SwanSystem
public import Torch
public import TorchNN

/// The bidirectional video transformer of Wan 2.1 and 2.2: every token sees every token.
public struct WanTransformer: Sendable {
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

    /// Conditions the network on text embeddings [B, T, textDim] of at most `textLen` tokens.
    ///
    /// A batch of one applies to every row. Rows of zeros are padding.
    ///
    /// - Parameters:
    ///   - image: The tokens of the images that the video begins (and ends) with [B, P, imageDim];
    ///     required for models that see them (`config.imageDim`), not allowed for others.
    ///   - recomputing: Whether keys and values are computed again in the backward pass, so that
    ///     weights that are read late are not kept.
    public func text(
        _ embeddings: Tensor,
        image: Tensor? = nil,
        recomputing: Bool = false
    ) throws(SwanError) -> TextConditioning {
        try backbone.text(embeddings, image: image, recomputing: recomputing)
    }

    /// Predicts the flow for noisy latents.
    ///
    /// - Parameters:
    ///   - latents: [B, inDim, F, H, W].
    ///   - timesteps: 0 ... 1000 as [B]; [B, F] or [B, L] if every latent frame or every token has
    ///     its own (Wan 2.2 TI2V-5B). Fewer timesteps take less computation.
    ///   - cache: The results of earlier steps, reused if they have hardly changed.
    ///   - recomputing: Whether the blocks are recomputed in the backward pass, so that their
    ///     activations are not kept.
    /// - Returns: The flow [B, outDim, F, H, W].
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
