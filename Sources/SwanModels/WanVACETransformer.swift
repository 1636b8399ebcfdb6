public import Torch
public import TorchNN
public import SwanSystem

/// The video transformer with a control branch for a video, a mask and reference images.
///
/// VACE, https://arxiv.org/abs/2503.07598; wan/modules/vace_model.py. A second, shorter stack of
/// blocks starts from the control latents; its outputs are added after some of the main blocks.
public struct WanVACETransformer: Sendable {
    /// The network in parts, without the control branch, which `run` below adds; see `WanBackbone`.
    public let backbone: WanBackbone
    private let patchEmbedding: Linear
    private let beforeProj: Linear
    private let branch: LayerStack<WanVACEBlock>
    private let layers: [Int]
    private let inDim: Int

    /// The configuration.
    public var config: WanConfig { backbone.config }

    /// Loads the network under a path, with the key names of the original checkpoints.
    ///
    /// `config` needs `vaceLayers` and `vaceInDim`.
    ///
    /// - Parameter blocks: The blocks that this instance holds, with the branch's blocks that add
    ///   to their output; nil for all. An instance with a subset of the blocks is run in parts.
    public init(
        _ weights: Weights,
        _ config: WanConfig,
        blocks: Range<Int>? = nil
    ) throws(SwanError) {
        guard let layers = config.vaceLayers, let inDim = config.vaceInDim else {
            throw SwanError(
                .invalidArgument,
                "the model's configuration names no vace_layers and vace_in_dim: it has no control "
                    + "branch"
            )
        }
        (self.layers, self.inDim) = (layers, inDim)
        backbone = try WanBackbone(weights, config, blocks: blocks)
        patchEmbedding = try Linear(
            convolution: weights["vace_patch_embedding"],
            [inDim] + config.patchSize,
            config.dim
        )
        beforeProj = try Linear(weights["vace_blocks"][0]["before_proj"], config.dim, config.dim)
        let held = backbone.blocks
        let first = layers.count { $0 < held.lowerBound }
        branch = try LayerStack(
            weights["vace_blocks"],
            count: layers.count,
            holding: first..<first + layers.count(where: held.contains)
        ) { weights throws(SwanError) in try WanVACEBlock(weights, config) }
    }

    /// Conditions the network on text embeddings [B, T, textDim] of at most `textLen` tokens.
    ///
    /// A batch of one applies to every row. Rows of zeros are padding.
    ///
    /// - Parameter image: The image tokens, as for `WanTransformer`.
    public func text(
        _ embeddings: Tensor,
        image: Tensor? = nil
    ) throws(SwanError) -> TextConditioning {
        try backbone.text(embeddings, image: image, control: branch)
    }

    /// Predicts the flow for noisy latents.
    ///
    /// - Parameters:
    ///   - latents: [B, inDim, F, H, W].
    ///   - timesteps: 0 ... 1000 as [B], [B, F] or [B, L].
    ///   - text: The result of this model's `text`.
    ///   - control: The control latents [1 or B, vaceInDim, F, H, W]; see `VACEControl`.
    ///   - scale: The strength of the control branch.
    ///   - cache: The results of earlier steps, reused if they have hardly changed.
    /// - Returns: The flow [B, outDim, F, H, W].
    public func callAsFunction(
        _ latents: Tensor,
        timesteps: Tensor,
        text: TextConditioning,
        control: Tensor,
        scale: Double = 1,
        cache: FirstBlockCache? = nil
    ) throws(SwanError) -> Tensor {
        let grid = try backbone.grid(of: latents)
        let timestep = try backbone.embed(timesteps: timesteps, grid)
        let context = BlockContext(
            timestep: timestep,
            rope: try backbone.rope(grid, latents.device),
            text: text
        )
        var tokens = ControlTokens(tokens: try embed(control: control, for: latents), scale: scale)
        let x = try run(
            blocks: 0..<config.layers,
            backbone.embed(latents),
            control: &tokens,
            context,
            cache: cache
        ) { _, q, k, v throws(SwanError) in try attention(q, k, v) }
        return try backbone.project(x, timestep, grid)
    }

    /// The tokens of the control branch between its blocks.
    public struct ControlTokens: Sendable {
        /// [1 or B, L, C], from `embed(control:for:)`.
        public var tokens: Tensor
        /// The strength of the control branch.
        public var scale: Double

        /// Creates the tokens before the first block, or between two.
        public init(tokens: Tensor, scale: Double = 1) {
            self.tokens = tokens
            self.scale = scale
        }
    }

    /// Embeds control latents [1 or B, vaceInDim, F, H, W] as tokens [1 or B, L, C].
    public func embed(control: Tensor, for latents: Tensor) throws(SwanError) -> Tensor {
        let grid = try backbone.grid(of: latents)
        let size = Array(latents.shape[2...])
        guard control.rank == 5, [1, latents.size(0)].contains(control.size(0)),
            Array(control.shape[1...]) == [inDim] + size
        else {
            throw SwanError(
                .invalidArgument,
                "control latents \(control.shape): with latents \(latents.shape) the model expects "
                    + "\([latents.size(0), inDim] + size)"
            )
        }
        return try patchEmbedding(backbone.patches(control, grid))
    }

    /// `WanBackbone.run` with the control branch, whose tokens advance with the others.
    ///
    /// - Parameter attend: Self-attention, also for the branch's blocks, called with the index of
    ///   the block to whose output they add.
    public func run(
        blocks: Range<Int>,
        _ x: Tensor,
        control: inout ControlTokens,
        _ context: BlockContext,
        cache: FirstBlockCache? = nil,
        attend: AttendInBlock
    ) throws(SwanError) -> Tensor {
        guard context.text.control.range == branch.held else {
            throw SwanError(.invalidArgument, "the text was prepared for another model")
        }
        return try backbone.run(blocks: blocks, x, context, cache: cache, attend: attend) {
            index,
            x throws(SwanError) in
            guard let next = layers.firstIndex(of: index) else { return nil }
            if next == 0 { control.tokens = try beforeProj(control.tokens) + x }
            let layer = try branch.layer(next)
            control.tokens = try layer.block(
                control.tokens,
                context,
                context.text.control.keys(of: next)
            ) { q, k, v throws(SwanError) in try attend(index, q, k, v) }
            let said = try layer.afterProj(control.tokens)
            return control.scale == 1 ? said : try said * control.scale
        }
    }
}

/// Returns the term to add to the output of block `block`, given its input [B, L, C]; called before
/// the block runs.
typealias Hint = (_ block: Int, _ x: Tensor) throws(SwanError) -> Tensor?

/// A block of the control branch, with its contribution to the main blocks.
struct WanVACEBlock: Sendable {
    let block: WanBlock
    let afterProj: Linear

    init(_ weights: Weights, _ config: WanConfig) throws(SwanError) {
        block = try WanBlock(weights, config)
        afterProj = try Linear(weights["after_proj"], config.dim, config.dim)
    }
}
