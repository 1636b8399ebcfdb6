import Foundation
import Torch
import TorchNN

/// A text as the blocks of a transformer see it. It is made once for a prompt.
///
/// The reference pads a text with zeros to `textLen` tokens, and attention sees the padding. All
/// padding has one embedding, hence one key and one value, so it is kept once with the logarithm of
/// its count added to its score: the same softmax over far fewer keys.
public struct TextConditioning: Sendable {
    let blocks: [TextKeys]
    /// Those of a control branch's blocks.
    let control: [TextKeys]
}

/// What a block of the control branch says, asked before block `block` with the tokens that go into
/// it [B, L, C] and the timestep's part of the modulation: what is added to the block's output.
typealias Hint = (_ block: Int, _ x: Tensor, _ timestep: Tensor) throws(TorchError) -> Tensor?

/// What the bidirectional and the causal transformer have in common: everything but attention over time.
///
/// Wan, https://arxiv.org/abs/2503.20314; wan/modules/model.py.
struct WanBackbone: Sendable {
    let config: WanConfig
    private let patchEmbedding: Linear
    private let textIn, textOut: Linear
    private let timeIn, timeOut, timeProjection: Linear
    private let imageEmbedding: WanImageEmbedding?
    private let blocks: LayerStack<WanBlock>
    private let norm: LayerNorm
    private let head: Linear
    private let headModulation: Tensor

    init(_ weights: Weights, _ config: WanConfig) throws(TorchError) {
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
        // In float32 whatever the rest computes in, as the reference: what tells one step from the next.
        let exact = weights.converted(to: .float32)
        timeIn = try Linear(exact["time_embedding"][0], config.freqDim, config.dim)
        timeOut = try Linear(exact["time_embedding"][2], config.dim, config.dim)
        timeProjection = try Linear(exact["time_projection"][1], config.dim, 6 * config.dim)
        imageEmbedding = try config.imageDim.map { dim throws(TorchError) in
            try WanImageEmbedding(weights["img_emb"], dim, config)
        }
        blocks = try LayerStack(weights["blocks"], count: config.layers) {
            weights throws(TorchError) in try WanBlock(weights, config)
        }
        norm = LayerNorm(eps: config.eps)
        head = try Linear(weights["head"]["head"], config.dim, patch * config.outDim)
        headModulation = try exact["head"].tensor("modulation", [1, 2, config.dim])
    }

    /// Text embeddings [B, T, textDim], T at most `textLen`; zero rows are padding.
    ///
    /// - Parameters:
    ///   - image: image tokens [B, P, imageDim], for the models that see some and only for these.
    ///   - control: the blocks of a control branch.
    func text(
        _ embeddings: Tensor,
        image: Tensor? = nil,
        control: LayerStack<WanVACEBlock>? = nil
    ) throws(TorchError) -> TextConditioning {
        let count = embeddings.size(1)
        guard count <= config.textLen else {
            throw TorchError(
                .invalidArgument,
                "\(count) tokens of text; the model takes \(config.textLen)"
            )
        }
        var x = embeddings
        var bias: Tensor?
        let padding = config.textLen - count
        if padding > 0 {
            x = try x.padded([0, 0, 0, 1])  // [B, T + 1, textDim]
            let scores = (0...count).map { $0 < count ? 0 : Foundation.log(Float(padding)) }
            bias = try Tensor(scores, [1, 1, 1, count + 1]).to(x.device, x.dtype)
        }
        let text = try textOut(textIn(x).gelu(tanh: true))
        let tokens = try embed(image: image)
        func keys(_ block: WanBlock) throws(TorchError) -> TextKeys {
            try block.crossAttention.keys(text, bias: bias, image: tokens)
        }
        var own: [TextKeys] = []
        try blocks.forEach { _, block throws(TorchError) in own.append(try keys(block)) }
        var ofControl: [TextKeys] = []
        try control?.forEach { _, layer throws(TorchError) in
            ofControl.append(try keys(layer.block))
        }
        return TextConditioning(blocks: own, control: ofControl)
    }

    private func embed(image: Tensor?) throws(TorchError) -> Tensor? {
        switch (imageEmbedding, image) {
        case (nil, nil): return nil
        case (let embedding?, let image?): return try embedding(image)
        case (nil, _?):
            throw TorchError(
                .invalidArgument,
                "image tokens are given, but the model's cross-attention sees text alone"
            )
        case (_?, nil):
            throw TorchError(
                .invalidArgument,
                "the model's cross-attention sees image tokens too; none are given"
            )
        }
    }

    /// The flow for latents [B, C, F, H, W] at timesteps [B, S], S as in `Modulation`, where tokens see
    /// those that `mask` [L, L] lets them see, or all; `recomputing` is for gradients, see `recomputed`.
    func callAsFunction(
        _ latents: Tensor,
        timesteps: Tensor,
        text: TextConditioning,
        rope: RoPE,
        mask: Tensor? = nil,
        cache: FirstBlockCache? = nil,
        recomputing: Bool
    ) throws(TorchError) -> Tensor {
        try flow(latents, timesteps, cache: cache) { index, block, x, e6 throws(TorchError) in
            let run: @Sendable () throws(TorchError) -> Tensor = { () throws(TorchError) in
                try block(x, timestep: e6, rope: rope, text: text.blocks[index]) {
                    q,
                    k,
                    v throws(TorchError) in try attention(q, k, v, mask: mask)
                }
            }
            return recomputing ? try recomputed(run) : try run()
        }
    }

    /// The same with `attend`, which is told the block's index, in place of attention over the latents.
    func callAsFunction(
        _ latents: Tensor,
        timesteps: Tensor,
        text: TextConditioning,
        rope: RoPE,
        hint: Hint = { _, _, _ in nil },
        cache: FirstBlockCache? = nil,
        attend: (_ block: Int, _ q: Tensor, _ k: Tensor, _ v: Tensor) throws(TorchError) -> Tensor
    ) throws(TorchError) -> Tensor {
        try flow(latents, timesteps, cache: cache) { index, block, x, e6 throws(TorchError) in
            let control = try hint(index, x, e6)
            var y = try block(x, timestep: e6, rope: rope, text: text.blocks[index]) {
                q,
                k,
                v throws(TorchError) in try attend(index, q, k, v)
            }
            if let control { try y.add(control) }
            return y
        }
    }

    /// From latents to the flow, `run` being told how to run a block on tokens [B, L, C] with the
    /// timestep's part of the modulation. With a `cache` all blocks but the first may be passed over.
    private func flow(
        _ latents: Tensor,
        _ timesteps: Tensor,
        cache: FirstBlockCache?,
        run: (
            _ index: Int, _ block: WanBlock, _ x: Tensor, _ timestep: Tensor
        ) throws(TorchError) -> Tensor
    ) throws(TorchError) -> Tensor {
        let grid = try grid(of: latents)
        var x = try patchEmbedding(patches(latents, grid))  // [B, L, C]
        let (e, e6) = try embed(timesteps)  // [B, S, C], [B, S, 6, C]
        func advance(_ index: Int, _ block: WanBlock) throws(TorchError) {
            x = try run(index, block, x, e6)
        }
        if let cache {
            let input = x
            try blocks.forEach(in: 0..<1, advance)
            let first = x
            if let rest = try cache.rest(after: first - input) {
                x = try x + rest
            } else {
                try blocks.forEach(in: 1..<blocks.count, advance)
                cache.keep(try x - first)
            }
        } else {
            try blocks.forEach(advance)
        }
        let modulation = try Modulation(headModulation, e.unsqueezed(2), x.dtype)
        return try video(head(modulation.apply(norm(x), shift: 0, scale: 1)), grid)
    }

    /// Frames, rows and columns of tokens; an error where the latents do not divide into patches.
    func grid(of latents: Tensor) throws(TorchError) -> [Int] {
        let shape = latents.shape
        let patch = config.patchSize
        guard shape.count == 5, shape[1] == config.inDim,
            zip(shape[2...], patch).allSatisfy({ $0 % $1 == 0 && $0 > 0 })
        else {
            throw TorchError(
                .invalidArgument,
                "latents \(shape): the model takes [B, \(config.inDim), F, H, W] with F, H, W in "
                    + "multiples of \(patch)"
            )
        }
        return zip(shape[2...], patch).map { $0 / $1 }
    }

    /// Timesteps [B], [B, F] or [B, L] as [B, S].
    func steps(_ timesteps: Tensor, _ grid: [Int]) throws(TorchError) -> Tensor {
        let steps = timesteps.rank == 1 ? try timesteps.unsqueezed(1) : timesteps
        guard steps.rank == 2, [1, grid[0], grid.reduce(1, *)].contains(steps.size(1)) else {
            throw TorchError(
                .invalidArgument,
                "timesteps \(timesteps.shape): the model takes [B], [B, \(grid[0])] for the frames or "
                    + "[B, \(grid.reduce(1, *))] for the tokens"
            )
        }
        return steps
    }

    /// The positions of a whole video's tokens.
    func rope(_ grid: [Int], _ device: Device) throws(TorchError) -> RoPE {
        try RoPE(
            firstFrames: [0],
            frames: grid[0],
            height: grid[1],
            width: grid[2],
            headDim: config.headDim,
            device: device
        )
    }

    /// A timestep's embedding, and its six shifts, scales and gates of a block, in float32.
    private func embed(_ timesteps: Tensor) throws(TorchError) -> (Tensor, Tensor) {
        let shape = timesteps.shape
        let waves = try sinusoidalEmbedding(timesteps.flattened(), dim: config.freqDim)
            .to(.float32)
        let e = try timeOut(timeIn(waves).silu())  // [B*S, C]
        let e6 = try timeProjection(e.silu())  // [B*S, 6C]
        return (try e.reshaped(shape + [-1]), try e6.reshaped(shape + [6, config.dim]))
    }

    /// [B, C, F, H, W] -> [B, L, C * patch], the channel outermost as in a convolution's weight.
    func patches(_ x: Tensor, _ grid: [Int]) throws(TorchError) -> Tensor {
        let (p, b, c) = (config.patchSize, x.size(0), x.size(1))
        return try x.reshaped(b, c, grid[0], p[0], grid[1], p[1], grid[2], p[2])
            .permuted(0, 2, 4, 6, 1, 3, 5, 7).reshaped(b, grid.reduce(1, *), -1)
    }

    /// [B, L, patch * C] -> [B, C, F, H, W], the channel innermost.
    private func video(_ x: Tensor, _ grid: [Int]) throws(TorchError) -> Tensor {
        let (p, b, c) = (config.patchSize, x.size(0), config.outDim)
        return try x.reshaped(b, grid[0], grid[1], grid[2], p[0], p[1], p[2], c)
            .permuted(0, 7, 1, 4, 2, 5, 3, 6)
            .reshaped(b, c, grid[0] * p[0], grid[1] * p[1], grid[2] * p[2])
    }
}
