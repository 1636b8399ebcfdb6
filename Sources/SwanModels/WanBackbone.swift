import Foundation
public import Torch
public import TorchNN
public import SwanSystem

/// The parts that the bidirectional and the causal transformer share: everything but attention over
/// time.
///
/// Three functions compose to the whole network: `embed` turns latents into tokens, `run` passes
/// them through a range of blocks with a given attention function, and `project` turns them into
/// the flow. An instance can hold a range of the blocks, and run on a range of the tokens.
///
/// Wan, https://arxiv.org/abs/2503.20314; wan/modules/model.py.
public struct WanBackbone: Sendable {
    /// The configuration.
    public let config: WanConfig
    let patchEmbedding: Linear
    private let textIn, textOut: Linear
    let timeIn, timeOut, timeProjection: Linear
    private let imageEmbedding: WanImageEmbedding?
    private(set) var stack: LayerStack<WanBlock>
    let norm: LayerNorm
    let head: Linear
    let headModulation: Tensor

    /// The blocks that this instance holds: all of them, or a range.
    public var blocks: Range<Int> { stack.held }

    /// Loads the network under a path with the blocks in `blocks`; nil for all.
    init(
        _ weights: Weights,
        _ config: WanConfig,
        blocks: Range<Int>? = nil
    ) throws(SwanError) {
        try config.validate()
        self.config = config
        let patch = config.patchSize.reduce(1, *)
        patchEmbedding = try Linear(
            convolution: weights["patch_embedding"],
            [config.inDim] + config.patchSize,
            config.dim
        )
        textIn = try Linear(weights["text_embedding"][0], config.textDim, config.dim)
        textOut = try Linear(weights["text_embedding"][2], config.dim, config.dim)
        // The timestep embedding is always float32, as in the reference, to distinguish steps
        // precisely.
        let exact = weights.converted(to: .float32)
        timeIn = try Linear(exact["time_embedding"][0], config.freqDim, config.dim)
        timeOut = try Linear(exact["time_embedding"][2], config.dim, config.dim)
        timeProjection = try Linear(exact["time_projection"][1], config.dim, 6 * config.dim)
        imageEmbedding = try config.imageDim.map { dim throws(SwanError) in
            try WanImageEmbedding(weights["img_emb"], dim, config)
        }
        stack = try LayerStack(weights["blocks"], count: config.layers, holding: blocks) {
            weights throws(SwanError) in try WanBlock(weights, config)
        }
        norm = LayerNorm(eps: config.eps)
        head = try Linear(weights["head"]["head"], config.dim, patch * config.outDim)
        headModulation = try exact["head"].tensor("modulation", [1, 2, config.dim])
    }

    /// The same network that holds other blocks: its own and those of `others`.
    func holding(
        _ blocks: Range<Int>,
        with others: [WanBackbone]
    ) throws(SwanError) -> WanBackbone {
        var changed = self
        changed.stack = try stack.holding(blocks, with: others.map(\.stack))
        return changed
    }

    /// Conditions the blocks of this instance on text embeddings [B, T, textDim], with T at most
    /// `textLen`; rows of zeros are padding.
    ///
    /// - Parameters:
    ///   - image: Image tokens [B, P, imageDim]; required for models that see them, not allowed for
    ///     others.
    ///   - control: The blocks of a control branch.
    ///   - recomputing: Whether keys and values are computed again in the backward pass, so that
    ///     weights that are read late are not kept.
    func text(
        _ embeddings: Tensor,
        image: Tensor? = nil,
        control: LayerStack<WanVACEBlock>? = nil,
        recomputing: Bool = false
    ) throws(SwanError) -> TextConditioning {
        let (x, bias) = try padded(embeddings)
        let text = try textOut(textIn(x).gelu(tanh: true))
        let tokens = try embed(image: image)
        func keys(_ block: WanBlock) throws(SwanError) -> TextKeys {
            try block.crossAttention.keys(text, bias: bias, image: tokens)
        }
        var own = TextConditioning.Keys(first: blocks.lowerBound)
        if recomputing {
            for index in blocks {
                let attention = try stack.deferred(index, "cross_attn", part: \.crossAttention) {
                    [config] weights throws(SwanError) in try WanCrossAttention(weights, config)
                }
                own.append(
                    try recomputed { () throws(SwanError) in
                        try attention().keys(text, bias: bias, image: tokens)
                    }
                )
            }
        } else {
            try stack.forEach { _, block throws(SwanError) in own.append(try keys(block)) }
        }
        var ofControl = TextConditioning.Keys(first: control?.held.lowerBound ?? 0)
        try control?.forEach { _, layer throws(SwanError) in
            ofControl.append(try keys(layer.block))
        }
        return TextConditioning(blocks: own, control: ofControl)
    }

    /// A text with one token for all its padding, and the bias of its scores; see
    /// `TextConditioning`.
    private func padded(_ x: Tensor) throws(SwanError) -> (text: Tensor, bias: Tensor?) {
        let count = x.size(1)
        guard count <= config.textLen else {
            throw SwanError(
                .invalidArgument,
                "\(count) tokens of text; the model's limit is \(config.textLen)"
            )
        }
        let padding = config.textLen - count
        guard padding > 0 else { return (x, nil) }
        let scores = (0...count).map { $0 < count ? 0 : Foundation.log(Float(padding)) }
        return (
            try x.padded([0, 0, 0, 1]),  // [B, T + 1, textDim]
            try Tensor(scores, [1, 1, 1, count + 1]).to(x.device, x.dtype)
        )
    }

    private func embed(image: Tensor?) throws(SwanError) -> Tensor? {
        switch (imageEmbedding, image) {
        case (nil, nil): return nil
        case (let embedding?, let image?): return try embedding(image)
        case (nil, _?):
            throw SwanError(
                .invalidArgument,
                "image tokens are given, but the model's cross-attention sees text alone"
            )
        case (_?, nil):
            throw SwanError(
                .invalidArgument,
                "the model's cross-attention sees image tokens too; none are given"
            )
        }
    }

    /// Computes the flow for latents [B, C, F, H, W], with self-attention by `attend`; for
    /// `recomputing` see `recomputed`.
    func callAsFunction(
        _ latents: Tensor,
        timesteps: Tensor,
        text: TextConditioning,
        rope: RoPE,
        cache: FirstBlockCache? = nil,
        recomputing: Bool,
        attend: @escaping SendableAttendInBlock
    ) throws(SwanError) -> Tensor {
        try flow(latents, timesteps, rope, text) { x, context throws(SwanError) in
            try run(
                blocks: 0..<config.layers,
                x,
                context,
                cache: cache,
                recomputing: recomputing,
                attend: attend
            )
        }
    }

    /// The same with an `attend` that may not leave its thread, such as one that updates a KV
    /// cache.
    func callAsFunction(
        _ latents: Tensor,
        timesteps: Tensor,
        text: TextConditioning,
        rope: RoPE,
        attend: AttendInBlock
    ) throws(SwanError) -> Tensor {
        try flow(latents, timesteps, rope, text) { x, context throws(SwanError) in
            try run(blocks: 0..<config.layers, x, context, attend: attend)
        }
    }

    /// From latents to the flow, with `run` between `embed` and `project`.
    private func flow(
        _ latents: Tensor,
        _ timesteps: Tensor,
        _ rope: RoPE,
        _ text: TextConditioning,
        run: (_ x: Tensor, BlockContext) throws(SwanError) -> Tensor
    ) throws(SwanError) -> Tensor {
        let grid = try grid(of: latents)
        let timestep = try embed(timesteps: timesteps, grid)
        let context = BlockContext(timestep: timestep, rope: rope, text: text)
        return try project(run(embed(latents), context), timestep, grid)
    }

    /// The frames, rows and columns of tokens. Throws if the latents do not divide into patches.
    public func grid(of latents: Tensor) throws(SwanError) -> [Int] {
        let shape = latents.shape
        let patch = config.patchSize
        guard shape.count == 5, shape[1] == config.inDim,
            zip(shape[2...], patch).allSatisfy({ $0 % $1 == 0 && $0 > 0 })
        else {
            throw SwanError(
                .invalidArgument,
                "latents \(shape): the model expects [B, \(config.inDim), F, H, W] with F, H, W in "
                    + "multiples of \(patch)"
            )
        }
        return zip(shape[2...], patch).map { $0 / $1 }
    }

    /// Reshapes timesteps [B], [B, F] or [B, L] to [B, S].
    func steps(_ timesteps: Tensor, _ grid: [Int]) throws(SwanError) -> Tensor {
        let steps = timesteps.rank == 1 ? try timesteps.unsqueezed(1) : timesteps
        guard steps.rank == 2, [1, grid[0], grid.reduce(1, *)].contains(steps.size(1)) else {
            throw SwanError(
                .invalidArgument,
                "timesteps \(timesteps.shape): expected [B], [B, \(grid[0])] for the frames or "
                    + "[B, \(grid.reduce(1, *))] for the tokens"
            )
        }
        return steps
    }

    /// The positions of a whole video's tokens.
    public func rope(_ grid: [Int], _ device: Device) throws(SwanError) -> RoPE {
        try RoPE(
            firstFrames: [0],
            frames: grid[0],
            height: grid[1],
            width: grid[2],
            headDim: config.headDim,
            device: device
        )
    }

    /// [B, C, F, H, W] -> [B, L, C * patch], with the channel outermost as in a convolution's
    /// weight.
    func patches(_ x: Tensor, _ grid: [Int]) throws(SwanError) -> Tensor {
        let (p, b, c) = (config.patchSize, x.size(0), x.size(1))
        return try x.reshaped(b, c, grid[0], p[0], grid[1], p[1], grid[2], p[2])
            .permuted(0, 2, 4, 6, 1, 3, 5, 7).reshaped(b, grid.reduce(1, *), -1)
    }

    /// Assembles the patches of a whole video of `grid` [B, L, patch * C], with the channel
    /// innermost, to [B, C, F, H, W].
    public func video(_ x: Tensor, _ grid: [Int]) throws(SwanError) -> Tensor {
        let (p, b, c) = (config.patchSize, x.size(0), config.outDim)
        return try x.reshaped(b, grid[0], grid[1], grid[2], p[0], p[1], p[2], c)
            .permuted(0, 7, 1, 4, 2, 5, 3, 6)
            .reshaped(b, c, grid[0] * p[0], grid[1] * p[1], grid[2] * p[2])
    }
}
