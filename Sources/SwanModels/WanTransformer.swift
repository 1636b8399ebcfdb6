import Torch
import TorchNN

/// The bidirectional video transformer of Wan 2.1 and 2.2: every token sees every token.
public struct WanTransformer: Sendable {
    private let backbone: WanBackbone

    /// The sizes.
    public var config: WanConfig { backbone.config }

    /// The network under a path, in the key names of the original checkpoints.
    public init(_ weights: Weights, _ config: WanConfig) throws(TorchError) {
        backbone = try WanBackbone(weights, config)
    }

    /// Text embeddings [B, T, textDim] of at most `textLen` tokens -> what the network attends to.
    ///
    /// A batch of one serves every row. Zero rows are padding.
    public func text(_ embeddings: Tensor) throws(TorchError) -> TextConditioning {
        try backbone.text(embeddings)
    }

    /// The flow that the network predicts for noisy latents.
    ///
    /// - Parameters:
    ///   - latents: [B, inDim, F, H, W].
    ///   - timesteps: 0 ... 1000 as [B], or [B, L] where every token has its own (Wan 2.2 TI2V-5B).
    /// - Returns: [B, outDim, F, H, W].
    public func callAsFunction(
        _ latents: Tensor,
        timesteps: Tensor,
        text: TextConditioning
    ) throws(TorchError) -> Tensor {
        let grid = try backbone.grid(of: latents)
        let rope = try RoPE(
            firstFrames: [0],
            frames: grid[0],
            height: grid[1],
            width: grid[2],
            headDim: config.headDim,
            device: latents.device
        )
        let steps = timesteps.rank == 1 ? try timesteps.unsqueezed(1) : timesteps
        return try backbone(latents, timesteps: steps, text: text, rope: rope) {
            _,
            q,
            k,
            v throws(TorchError) in try attention(q, k, v)
        }
    }
}
