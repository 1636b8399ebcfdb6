import SwanSystem
import Torch
import TorchNN

/// A block's self-attention over queries, keys and values [B, L, N, D]: over all of them, those
/// that a mask allows, or those in a cache.
typealias Attend = (_ q: Tensor, _ k: Tensor, _ v: Tensor) throws(SwanError) -> Tensor

/// The keys and values of a text, and of any image tokens, in one block's cross-attention; of
/// several texts if the rows of a batch have different ones.
struct TextKeys: Sendable {
    /// One set of keys and values, with its own softmax.
    struct Source: Sendable {
        let keys, values: Tensor  // [1 or B, T, N, D]
        /// The bias of the scores [1, 1, 1, T]; see `TextConditioning`.
        let bias: Tensor?
    }

    /// Adjacent rows of a batch that attend to the same sources.
    struct Run: Sendable {
        /// The number of rows; nil for the whole batch.
        let rows: Int?
        let text: Source
        let image: Source?
    }

    let runs: [Run]

    init(text: Source, image: Source?) { runs = [Run(rows: nil, text: text, image: image)] }

    /// Joins the keys of different texts, each for a number of rows.
    init(joining keys: [(keys: TextKeys, rows: Int)]) {
        runs = keys.flatMap { part in
            part.keys.runs.map { Run(rows: $0.rows ?? part.rows, text: $0.text, image: $0.image) }
        }
    }
}

/// Self-attention with normalized, rotated queries and keys.
struct WanSelfAttention: Sendable {
    private let qkv, o: Linear
    private let normQ, normK: RMSNorm?
    private let heads, dim: Int

    init(_ weights: Weights, _ config: WanConfig) throws(SwanError) {
        dim = config.dim
        heads = config.heads
        qkv = try Linear(fusing: [weights["q"], weights["k"], weights["v"]], dim, dim)
        o = try Linear(weights["o"], dim, dim)
        normQ = config.qkNorm ? try RMSNorm(weights["norm_q"], dim, eps: config.eps) : nil
        normK = config.qkNorm ? try RMSNorm(weights["norm_k"], dim, eps: config.eps) : nil
    }

    func callAsFunction(_ x: Tensor, _ rope: RoPE, _ attend: Attend) throws(SwanError) -> Tensor {
        let parts = try qkv(x).chunked(3, dim: -1)  // [B, L, C] x 3
        let q = try rope(split(normQ?(parts[0]) ?? parts[0]))  // [B, L, N, D]
        let k = try rope(split(normK?(parts[1]) ?? parts[1]))
        let v = try split(parts[2])
        return try o(attend(q, k, v).flattened(from: 2))  // [B, L, C]
    }

    private func split(_ x: Tensor) throws(SwanError) -> Tensor {
        try x.unflattened(-1, [heads, dim / heads])
    }
}

/// Attention from video tokens to text and, in some models, to image tokens: separate softmaxes
/// over the same queries, with their results added.
struct WanCrossAttention: Sendable {
    private let q, k, v, o: Linear
    private let normQ, normK: RMSNorm?
    private let image: ImageProjection?
    private let heads, dim: Int

    private struct ImageProjection: Sendable {
        let k, v: Linear
        let normK: RMSNorm?
    }

    init(_ weights: Weights, _ config: WanConfig) throws(SwanError) {
        dim = config.dim
        heads = config.heads
        func norm(_ name: String) throws(SwanError) -> RMSNorm? {
            config.qkNorm ? try RMSNorm(weights[name], config.dim, eps: config.eps) : nil
        }
        q = try Linear(weights["q"], dim, dim)
        k = try Linear(weights["k"], dim, dim)
        v = try Linear(weights["v"], dim, dim)
        o = try Linear(weights["o"], dim, dim)
        normQ = try norm("norm_q")
        normK = try norm("norm_k")
        if config.imageDim == nil {
            image = nil
        } else {
            image = ImageProjection(
                k: try Linear(weights["k_img"], dim, dim),
                v: try Linear(weights["v_img"], dim, dim),
                normK: try norm("norm_k_img")
            )
        }
    }

    /// The keys and values of embedded text [B, T, C] and image tokens [B, P, C] for
    /// `callAsFunction`.
    func keys(_ text: Tensor, bias: Tensor?, image tokens: Tensor?) throws(SwanError) -> TextKeys {
        let k = try k(text)
        let ofText = TextKeys.Source(
            keys: try split(normK?(k) ?? k),
            values: try split(v(text)),
            bias: bias
        )
        guard let image, let tokens else { return TextKeys(text: ofText, image: nil) }
        let imageK = try image.k(tokens)
        let ofImage = TextKeys.Source(
            keys: try split(image.normK?(imageK) ?? imageK),
            values: try split(image.v(tokens)),
            bias: nil
        )
        return TextKeys(text: ofText, image: ofImage)
    }

    func callAsFunction(_ x: Tensor, _ context: TextKeys) throws(SwanError) -> Tensor {
        let projected = try q(x)
        let q = try split(normQ?(projected) ?? projected)  // [B, L, N, D]
        let y = try attend(q, context.runs)
        return try o(y.reshaped(x.shape))  // [B, L, C]
    }

    private func attend(_ q: Tensor, _ runs: [TextKeys.Run]) throws(SwanError) -> Tensor {
        var parts: [Tensor] = []
        var first = 0
        for run in runs {
            let count = run.rows ?? q.size(0)
            let rows = count == q.size(0) ? q : try q.narrowed(0, first, count)
            var y = try attend(rows, run.text)
            if let image = run.image { y = try y + attend(rows, image) }
            parts.append(y)
            first += count
        }
        return parts.count == 1 ? parts[0] : try concatenated(parts)
    }

    private func attend(_ q: Tensor, _ source: TextKeys.Source) throws(SwanError) -> Tensor {
        // Rows that share a text become one long row, so that its keys are read once.
        let shared = source.keys.size(0) == 1
        let rows = shared ? try q.flattened(from: 0, to: 1).unsqueezed(0) : q  // [1, B*L, N, D]
        return try attention(rows, source.keys, source.values, mask: source.bias).reshaped(q.shape)
    }

    private func split(_ x: Tensor) throws(SwanError) -> Tensor {
        try x.unflattened(-1, [heads, dim / heads])
    }
}

/// The modulation of tokens [B, L, C] in S equal runs, each with its own shift, scale and gate.
///
/// S is 1 if a whole sample has one timestep, F if every frame has its own, L if every token has.
struct Modulation: Sendable {
    /// The index of a layer's shift, scale and gate among the parts of a block, or of the head.
    enum Layer: Int {
        /// The first layer of a block; also the head, which has no gate.
        case selfAttention = 0
        case feedForward = 3

        static let head = Layer.selfAttention

        var shift: Int { rawValue }
        var scale: Int { rawValue + 1 }
        var gate: Int { rawValue + 2 }
    }

    private let parts: [Tensor]  // [B, S, 1, C] each

    /// The sum of a block's own `offsets` [1, n, C] and a timestep's embedding [B, S, n, C].
    ///
    /// Both are float32 whatever the network computes in, as in the reference; the sum is used in
    /// `dtype`.
    init(_ offsets: Tensor, _ timestep: Tensor, _ dtype: DType) throws(SwanError) {
        let sum = try (offsets.unsqueezed(1) + timestep).to(dtype)  // [B, S, n, C]
        parts = try sum.chunked(sum.size(2), dim: 2)
    }

    /// x (1 + scale) + shift.
    func apply(_ x: Tensor, for layer: Layer) throws(SwanError) -> Tensor {
        try parts[layer.shift].adding(product: runs(x), parts[layer.scale] + 1).reshaped(x.shape)
    }

    /// x + gate y.
    func add(_ y: Tensor, to x: Tensor, of layer: Layer) throws(SwanError) -> Tensor {
        try runs(x).adding(product: runs(y), parts[layer.gate]).reshaped(x.shape)
    }

    private func runs(_ x: Tensor) throws(SwanError) -> Tensor {
        try x.reshaped(x.size(0), parts[0].size(1), -1, x.size(2))  // [B, S, L/S, C]
    }
}

/// A block: self-attention, cross-attention to the text, and a feed-forward network.
struct WanBlock: Sendable {
    let crossAttention: WanCrossAttention
    private let selfAttention: WanSelfAttention
    private let norm1, norm2: LayerNorm
    private let norm3: LayerNorm?
    private let up, down: Linear
    private let modulation: Tensor

    init(_ weights: Weights, _ config: WanConfig) throws(SwanError) {
        norm1 = LayerNorm(eps: config.eps)
        selfAttention = try WanSelfAttention(weights["self_attn"], config)
        norm3 =
            config.crossAttnNorm
            ? try LayerNorm(weights["norm3"], config.dim, eps: config.eps) : nil
        crossAttention = try WanCrossAttention(weights["cross_attn"], config)
        norm2 = LayerNorm(eps: config.eps)
        up = try Linear(weights["ffn"][0], config.dim, config.ffnDim)
        down = try Linear(weights["ffn"][2], config.ffnDim, config.dim)
        modulation = try weights.converted(to: .float32).tensor("modulation", [1, 6, config.dim])
    }

    /// x [B, L, C] -> [B, L, C].
    func callAsFunction(
        _ x: Tensor,
        _ context: BlockContext,
        _ text: TextKeys,
        attend: Attend
    ) throws(SwanError) -> Tensor {
        let e = try Modulation(modulation, context.timestep.blocks, x.dtype)
        var x = x
        let y = try selfAttention(e.apply(norm1(x), for: .selfAttention), context.rope, attend)
        x = try e.add(y, to: x, of: .selfAttention)
        x = try x + crossAttention(norm3?(x) ?? x, text)
        let z = try down(up.gelu(e.apply(norm2(x), for: .feedForward)))
        return try e.add(z, to: x, of: .feedForward)
    }
}
