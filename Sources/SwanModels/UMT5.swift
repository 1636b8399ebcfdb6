import Foundation
public import SwanSystem
public import Torch
public import TorchNN

/// The configuration of a UMT5 text encoder, decoded from the `config.json` of transformers.
public struct UMT5Config: Sendable, Equatable {
    /// The size of the vocabulary.
    public var vocabulary = 256_384
    /// The width of the tokens.
    public var dim = 4_096
    /// The size of an attention head.
    public var headDim = 64
    /// The width of the feed-forward network.
    public var ffnDim = 10_240
    /// The number of attention heads.
    public var heads = 64
    /// The number of blocks.
    public var layers = 24
    /// The number of relative position buckets, half of them for each direction.
    public var buckets = 32
    /// The distance from which all share the last bucket.
    public var maxDistance = 128
    /// The epsilon added to mean squares.
    public var eps = 1e-6

    /// Creates the configuration of UMT5-XXL, to be modified.
    public init() {}

    /// UMT5-XXL, the encoder of all Wan models.
    public static let xxl = UMT5Config()

    /// The width of all heads together.
    public var attentionDim: Int { heads * headDim }
}

extension UMT5Config {
    /// Throws `invalidWeights` with the name of the first invalid size.
    public func validate() throws(SwanError) {
        let limits = NumberLimits.self
        try limits.require(vocabulary, in: limits.vocabulary, "vocab_size")
        for (key, width) in [
            ("d_model", dim), ("d_kv", headDim), ("d_ff", ffnDim), ("num_heads", heads),
            ("relative_attention_num_buckets", buckets),
        ] {
            try limits.require(width, in: limits.width, key)
        }
        try limits.require(
            attentionDim,
            in: limits.width,
            "num_heads \(heads) times d_kv \(headDim)"
        )
        try limits.require(layers, in: limits.layers, "num_layers")
        try limits.require(maxDistance, in: limits.tokens, "relative_attention_max_distance")
        try limits.require(eps, in: limits.epsilon, "layer_norm_epsilon")
        try limits.require(
            buckets.isMultiple(of: 4) && maxDistance > buckets / 4,
            "relative_attention_num_buckets \(buckets) must be a multiple of 4, with a "
                + "relative_attention_max_distance above a quarter of it, not \(maxDistance)"
        )
    }
}

extension UMT5Config: Codable {
    private enum CodingKeys: String, CodingKey {
        case vocabulary = "vocab_size", dim = "d_model", headDim = "d_kv", ffnDim = "d_ff"
        case heads = "num_heads", layers = "num_layers"
        case buckets = "relative_attention_num_buckets"
        case maxDistance = "relative_attention_max_distance", eps = "layer_norm_epsilon"
    }

    /// Decodes and validates; the sizes are required, the rest defaults to UMT5's values.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        let base = UMT5Config()
        func integer(_ key: CodingKeys, _ fallback: Int? = nil) throws -> Int {
            guard let fallback else { return try values.decode(Int.self, forKey: key) }
            return try values.decodeIfPresent(Int.self, forKey: key) ?? fallback
        }
        vocabulary = try integer(.vocabulary)
        dim = try integer(.dim)
        headDim = try integer(.headDim)
        ffnDim = try integer(.ffnDim)
        heads = try integer(.heads)
        layers = try integer(.layers)
        buckets = try integer(.buckets, base.buckets)
        maxDistance = try integer(.maxDistance, base.maxDistance)
        eps = try values.decodeIfPresent(Double.self, forKey: .eps) ?? base.eps
        try checked(values) { () throws(SwanError) in try validate() }
    }
}

/// The text encoder of Wan: tokens to embeddings.
///
/// UMT5, https://arxiv.org/abs/2304.09151: T5 with a position bias in every block. The reference is
/// wan/modules/t5.py.
public struct UMT5Encoder: Sendable {
    /// The configuration.
    public let config: UMT5Config
    private let tokens: Embedding
    private let blocks: LayerStack<UMT5Block>
    private let norm: RMSNorm

    /// Loads the encoder under a path, with the key names of Wan's checkpoints.
    public init(_ weights: Weights, _ config: UMT5Config) throws(SwanError) {
        try config.validate()
        self.config = config
        tokens = try Embedding(weights["token_embedding"], config.vocabulary, config.dim)
        blocks = try LayerStack(weights["blocks"], count: config.layers) {
            weights throws(SwanError) in try UMT5Block(weights, config)
        }
        norm = try RMSNorm(weights["norm"], config.dim, eps: config.eps)
    }

    /// Encodes token ids [B, L] (int64) to embeddings [B, L, dim].
    ///
    /// - Parameters:
    ///   - mask: [B, L], 0 for padding that is not attended to; nil if there is no padding.
    ///   - recomputing: Whether the blocks run again in the backward pass, so that their activations
    ///     and weights that are read late are not kept.
    public func callAsFunction(
        _ ids: Tensor,
        mask: Tensor? = nil,
        recomputing: Bool = false
    ) throws(SwanError) -> Tensor {
        var x = try tokens(ids)
        let buckets = try distanceBuckets(ids.size(1)).to(ids.device)
        var hidden: Tensor?
        if let mask { hidden = try (mask .== 0).reshaped(mask.size(0), 1, 1, -1) }
        if recomputing {
            for index in blocks.held {
                let block = try blocks.deferred(index)
                x = try recomputed { [x, hidden] () throws(SwanError) in
                    try block()(x, buckets: buckets, hidden: hidden)
                }
            }
        } else {
            try blocks.forEach { _, block throws(SwanError) in
                x = try block(x, buckets: buckets, hidden: hidden)
            }
        }
        return try norm(x)
    }

    /// Encodes prompts, given as token ids without padding, to [B, length, dim], with zeros after
    /// each prompt.
    ///
    /// The reference computes `length` = 512 tokens, masks the padding and clears it. Omitting the
    /// padding gives the same result, in the time of the longest prompt.
    ///
    /// - Parameters:
    ///   - length: At least the length of the longest prompt; nil for exactly that.
    ///   - recomputing: As in `callAsFunction`.
    public func encode(
        _ prompts: [[Int32]],
        length: Int? = nil,
        recomputing: Bool = false
    ) throws(SwanError) -> Tensor {
        let longest = max(1, prompts.map(\.count).max() ?? 0)
        guard longest <= length ?? longest else {
            throw SwanError(
                .invalidArgument,
                "a prompt has \(longest) tokens; the limit is \(length ?? 0)"
            )
        }
        // On a GPU an invalid id would trigger an assertion that destroys its context.
        let wrong = prompts.joined().first { !(0..<config.vocabulary ~= Int($0)) }
        if let wrong {
            throw SwanError(
                .invalidArgument,
                "token \(wrong) is not in the text encoder's vocabulary of \(config.vocabulary)"
            )
        }
        let shape = [prompts.count, longest]
        let ids = prompts.flatMap { prompt in
            prompt.map(Int.init) + Array(repeating: 0, count: longest - prompt.count)
        }
        let real = prompts.flatMap { prompt in (0..<longest).map { $0 < prompt.count } }
        let device = tokens.device
        var x: Tensor
        if real.allSatisfy({ $0 }) {
            // [B, longest, dim]
            x = try self(Tensor(ids, shape).to(device), recomputing: recomputing)
        } else {
            let mask = try Tensor(real, shape).to(device)
            x = try self(Tensor(ids, shape).to(device), mask: mask, recomputing: recomputing)
            x = try x * mask.unsqueezed(2).to(x.dtype)
        }
        guard let length, length > longest else { return x }
        return try x.padded([0, 0, 0, length - longest])  // [B, length, dim]
    }

    /// The bucket of the distance from every query (row) to every key (column): [L, L].
    private func distanceBuckets(_ length: Int) throws(SwanError) -> Tensor {
        let table = (1 - length..<length).map(bucket)
        let buckets = (0..<length).flatMap { query in
            table[(length - 1 - query)..<(2 * length - 1 - query)]
        }
        return try Tensor(buckets, [length, length])
    }

    /// Near distances have a bucket each, far ones share buckets that grow logarithmically.
    ///
    /// In float32 as in the reference, since the edges of buckets depend on rounding.
    private func bucket(_ distance: Int) -> Int {
        let half = config.buckets / 2
        let exact = half / 2
        let direction = distance > 0 ? half : 0
        let far = abs(distance)
        guard far >= exact else { return direction + far }
        let range = Float(log(Double(config.maxDistance) / Double(exact)))
        let step = log(Float(far) / Float(exact)) / range * Float(half - exact)
        return direction + min(exact + Int(step), half - 1)
    }
}

/// Attention over all tokens and a gated feed-forward network, each with a residual connection.
private struct UMT5Block: Sendable {
    let norm1, norm2: RMSNorm
    let q, k, v, o: Linear
    let distances: Embedding
    let gate, fc1, fc2: Linear
    let heads: Int

    init(_ weights: Weights, _ config: UMT5Config) throws(SwanError) {
        let (attention, ffn) = (weights["attn"], weights["ffn"])
        norm1 = try RMSNorm(weights["norm1"], config.dim, eps: config.eps)
        norm2 = try RMSNorm(weights["norm2"], config.dim, eps: config.eps)
        // Not fused: a mapped checkpoint of 11 GB then stays in the file until it is used.
        q = try Linear(attention["q"], config.dim, config.attentionDim, bias: false)
        k = try Linear(attention["k"], config.dim, config.attentionDim, bias: false)
        v = try Linear(attention["v"], config.dim, config.attentionDim, bias: false)
        o = try Linear(attention["o"], config.attentionDim, config.dim, bias: false)
        distances = try Embedding(
            weights["pos_embedding"]["embedding"],
            config.buckets,
            config.heads
        )
        gate = try Linear(ffn["gate"][0], config.dim, config.ffnDim, bias: false)
        fc1 = try Linear(ffn["fc1"], config.dim, config.ffnDim, bias: false)
        fc2 = try Linear(ffn["fc2"], config.ffnDim, config.dim, bias: false)
        heads = config.heads
    }

    /// x [B, L, C]; `buckets` [L, L]; `hidden` [B, 1, 1, L], true for masked keys.
    func callAsFunction(
        _ x: Tensor,
        buckets: Tensor,
        hidden: Tensor?
    ) throws(SwanError) -> Tensor {
        let attended = try x + attend(norm1(x), buckets, hidden)
        let normed = try norm2(attended)
        return try attended + fc2(fc1(normed) * gate(normed).gelu(tanh: true))
    }

    private func attend(
        _ x: Tensor,
        _ buckets: Tensor,
        _ hidden: Tensor?
    ) throws(SwanError) -> Tensor {
        var bias = try distances(buckets).permuted(2, 0, 1).unsqueezed(0)  // [1, N, L, L]
        if let hidden { bias = try bias.filled(where: hidden, with: bias.dtype.lowest) }
        let split = [heads, -1]
        let result = try attention(
            q(x).unflattened(-1, split),
            k(x).unflattened(-1, split),
            v(x).unflattened(-1, split),
            mask: bias,
            scale: 1
        )  // [B, L, N, D]
        return try o(result.flattened(from: 2))
    }
}

extension DType {
    /// The most negative finite number, which masked scores are set to.
    fileprivate var lowest: Double {
        switch self {
        case .float16: -65_504
        case .bfloat16: -3.389_531_389_251_535_5e38
        default: -Double(Float.greatestFiniteMagnitude)
        }
    }
}
