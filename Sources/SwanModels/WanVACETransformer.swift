import Torch
import TorchNN

/// The video transformer with a control branch: it is shown a video, a mask and reference images.
///
/// VACE, https://arxiv.org/abs/2503.07598; wan/modules/vace_model.py. A second, shorter row of blocks
/// begins with the control latents; after some of the blocks what the branch says is added.
public struct WanVACETransformer: Sendable {
    private let backbone: WanBackbone
    private let patchEmbedding: Linear
    private let beforeProj: Linear
    private let branch: LayerStack<WanVACEBlock>
    private let layers: [Int]
    private let inDim: Int

    /// The sizes.
    public var config: WanConfig { backbone.config }

    /// The network under a path, in the key names of the original checkpoints.
    ///
    /// `config` needs `vaceLayers` and `vaceInDim`.
    public init(_ weights: Weights, _ config: WanConfig) throws(TorchError) {
        guard let layers = config.vaceLayers, let inDim = config.vaceInDim else {
            throw TorchError(
                .invalidArgument,
                "the model's configuration names no vace_layers and vace_in_dim: it has no control "
                    + "branch"
            )
        }
        (self.layers, self.inDim) = (layers, inDim)
        backbone = try WanBackbone(weights, config)
        patchEmbedding = try Linear(
            convolution: weights["vace_patch_embedding"],
            [inDim] + config.patchSize,
            config.dim
        )
        beforeProj = try Linear(weights["vace_blocks"][0]["before_proj"], config.dim, config.dim)
        branch = try LayerStack(weights["vace_blocks"], count: layers.count) {
            weights throws(TorchError) in try WanVACEBlock(weights, config)
        }
    }

    /// Text embeddings [B, T, textDim] of at most `textLen` tokens -> what the network attends to.
    ///
    /// A batch of one serves every row. Zero rows are padding.
    ///
    /// - Parameter image: image tokens as for `WanTransformer`.
    public func text(
        _ embeddings: Tensor,
        image: Tensor? = nil
    ) throws(TorchError) -> TextConditioning {
        try backbone.text(embeddings, image: image, control: branch)
    }

    /// The flow that the network predicts for noisy latents.
    ///
    /// - Parameters:
    ///   - latents: [B, inDim, F, H, W].
    ///   - timesteps: 0 ... 1000 as [B], [B, F] or [B, L].
    ///   - text: from this model's `text`.
    ///   - control: what the branch is shown [1 or B, vaceInDim, F, H, W]; see `VACEControl`.
    ///   - scale: how much the branch says.
    ///   - cache: what earlier steps computed, to be reused where it has hardly changed.
    /// - Returns: [B, outDim, F, H, W].
    public func callAsFunction(
        _ latents: Tensor,
        timesteps: Tensor,
        text: TextConditioning,
        control: Tensor,
        scale: Double = 1,
        cache: FirstBlockCache? = nil
    ) throws(TorchError) -> Tensor {
        let grid = try backbone.grid(of: latents)
        let size = Array(latents.shape[2...])
        guard control.rank == 5, [1, latents.size(0)].contains(control.size(0)),
            Array(control.shape[1...]) == [inDim] + size
        else {
            throw TorchError(
                .invalidArgument,
                "control latents \(control.shape): with latents \(latents.shape) the model takes "
                    + "\([latents.size(0), inDim] + size)"
            )
        }
        guard text.control.count == branch.count else {
            throw TorchError(.invalidArgument, "the text is conditioned for another model")
        }
        let rope = try backbone.rope(grid, latents.device)
        var c = try patchEmbedding(backbone.patches(control, grid))  // [1 or B, L, C]
        var next = 0
        return try backbone(
            latents,
            timesteps: backbone.steps(timesteps, grid),
            text: text,
            rope: rope,
            hint: { index, x, timestep throws(TorchError) in
                guard next < layers.count, layers[next] == index else { return nil }
                if next == 0 { c = try beforeProj(c) + x }
                let layer = try branch.layer(next)
                c = try layer.block(c, timestep: timestep, rope: rope, text: text.control[next]) {
                    q,
                    k,
                    v throws(TorchError) in try attention(q, k, v)
                }
                let said = try layer.afterProj(c)
                next += 1
                return scale == 1 ? said : try said * scale
            },
            cache: cache,
            attend: { _, q, k, v throws(TorchError) in try attention(q, k, v) }
        )
    }
}

/// A block of the control branch, and what it says to the other ones.
struct WanVACEBlock: Sendable {
    let block: WanBlock
    let afterProj: Linear

    init(_ weights: Weights, _ config: WanConfig) throws(TorchError) {
        block = try WanBlock(weights, config)
        afterProj = try Linear(weights["after_proj"], config.dim, config.dim)
    }
}
