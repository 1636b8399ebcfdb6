public import SwanSystem
import Torch

/// The configuration of a Wan video transformer.
///
/// Decodes from the `config.json` of the original checkpoints and of diffusers.
public struct WanConfig: Sendable, Equatable {
    /// The width of the tokens.
    public var dim = 1_536
    /// The width of the feed-forward network.
    public var ffnDim = 8_960
    /// The number of attention heads.
    public var heads = 12
    /// The number of blocks.
    public var layers = 30
    /// The number of channels of the input latents.
    public var inDim = 16
    /// The number of channels of the output flow.
    public var outDim = 16
    /// The width of the sinusoidal embedding of a timestep.
    public var freqDim = 256
    /// The width of the text encoder's output.
    public var textDim = 4_096
    /// The number of text tokens that attention sees, including padding.
    public var textLen = 512
    /// The latent frames, rows and columns in one token.
    public var patchSize = [1, 2, 2]
    /// The epsilon added to variances.
    public var eps = 1e-6
    /// Whether queries and keys are normalized.
    public var qkNorm = true
    /// Whether the input of cross-attention is normalized with its own weights.
    public var crossAttnNorm = true
    /// The width of the image tokens that cross-attention sees in addition to the text; nil for
    /// none.
    public var imageDim: Int?
    /// The number of image tokens with a learned position: those of two images if a video is
    /// generated between its first and its last frame; nil for none.
    public var imagePositions: Int?
    /// The blocks to whose output the control branch adds, the first of them 0 (VACE).
    public var vaceLayers: [Int]?
    /// The number of channels of the control latents (VACE).
    public var vaceInDim: Int?

    /// Creates the configuration of the 1.3B model, to be modified.
    public init() {}

    /// Wan 2.1 text-to-video 1.3B.
    public static let wan1_3B = WanConfig()

    /// Wan 2.1 text-to-video 14B.
    public static var wan14B: WanConfig {
        var config = WanConfig()
        (config.dim, config.ffnDim, config.heads, config.layers) = (5_120, 13_824, 40, 40)
        return config
    }

    /// The size of an attention head.
    public var headDim: Int { dim / heads }

    /// The number of tokens of a latent frame of `height` by `width`.
    public func tokensPerFrame(height: Int, width: Int) -> Int {
        (height / patchSize[1]) * (width / patchSize[2])
    }

    /// The number of pixels that the width and height of frames must be multiples of.
    ///
    /// - Parameter spatialStride: The autoencoder's: the pixels on a side of what a latent stands for.
    package func sizeMultiple(spatialStride: Int) -> Int {
        spatialStride * max(patchSize[1], patchSize[2])
    }
}

extension WanConfig {
    /// Throws `invalidWeights` with the name of the first invalid size.
    public func validate() throws(SwanError) {
        let limits = NumberLimits.self
        for (key, width) in [
            ("dim", dim), ("ffn_dim", ffnDim), ("num_heads", heads), ("in_dim", inDim),
            ("out_dim", outDim), ("freq_dim", freqDim), ("text_dim", textDim),
            ("image_dim", imageDim ?? 1), ("vace_in_dim", vaceInDim ?? 1),
        ] {
            try limits.require(width, in: limits.width, key)
        }
        try limits.require(layers, in: limits.layers, "num_layers")
        try limits.require(textLen, in: limits.tokens, "text_len")
        try limits.require(imagePositions ?? 1, in: limits.tokens, "pos_embed_seq_len")
        try limits.require(eps, in: limits.epsilon, "eps")
        try limits.require(
            patchSize.count == 3,
            "patch_size \(patchSize) must list frames, rows and columns"
        )
        for size in patchSize { try limits.require(size, in: limits.patch, "patch_size") }
        // Positions rotate pairs of numbers, in three parts of a head (RoPE).
        try limits.require(
            dim % heads == 0 && headDim.isMultiple(of: 2) && headDim >= 6,
            "dim \(dim) does not divide into \(heads) heads of an even width of at least 6"
        )
        try limits.require(
            freqDim.isMultiple(of: 2),
            "freq_dim \(freqDim) is not even: half of it is sines, half cosines"
        )
        guard let vaceLayers else { return }
        try limits.require(
            vaceLayers.first == 0 && zip(vaceLayers, vaceLayers.dropFirst()).allSatisfy(<)
                && vaceLayers.allSatisfy { $0 < layers },
            "vace_layers must begin with 0, ascend and end below the \(layers) layers"
        )
    }
}

extension WanConfig: Codable {
    private enum Key: String, CodingKey {
        case dim, ffnDim = "ffn_dim", heads = "num_heads", layers = "num_layers"
        case inDim = "in_dim", outDim = "out_dim", freqDim = "freq_dim", textDim = "text_dim"
        case textLen = "text_len", patchSize = "patch_size", eps, qkNorm = "qk_norm"
        case crossAttnNorm = "cross_attn_norm"
        case vaceLayers = "vace_layers", vaceInDim = "vace_in_dim"
        // The names of diffusers.
        case imageDim = "image_dim", imagePositions = "pos_embed_seq_len"
        case numAttentionHeads = "num_attention_heads", attentionHeadDim = "attention_head_dim"
        case inChannels = "in_channels", outChannels = "out_channels"
        case vaceInChannels = "vace_in_channels"
    }

    /// Reads the original names or those of diffusers; missing values default to those of the 1.3B
    /// model.
    ///
    /// The original names do not cover image tokens, and `model_type` is the same for models with
    /// and without; `fitted(to:)` tells them apart by the weights.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: Key.self)
        func integer(_ key: Key, _ other: Key? = nil, _ fallback: Int) throws -> Int {
            if let value = try values.decodeIfPresent(Int.self, forKey: key) { return value }
            guard let other else { return fallback }
            return try values.decodeIfPresent(Int.self, forKey: other) ?? fallback
        }
        let base = WanConfig()
        heads = try integer(.heads, .numAttentionHeads, base.heads)
        let headDim = try values.decodeIfPresent(Int.self, forKey: .attentionHeadDim)
        try checked(values) { () throws(SwanError) in
            try NumberLimits.require(heads, in: NumberLimits.width, "num_heads")
            try NumberLimits.require(headDim ?? 1, in: NumberLimits.width, "attention_head_dim")
        }
        dim = try integer(.dim, nil, headDim.map { $0 * heads } ?? base.dim)
        ffnDim = try integer(.ffnDim, nil, base.ffnDim)
        layers = try integer(.layers, nil, base.layers)
        inDim = try integer(.inDim, .inChannels, base.inDim)
        outDim = try integer(.outDim, .outChannels, base.outDim)
        freqDim = try integer(.freqDim, nil, base.freqDim)
        textDim = try integer(.textDim, nil, base.textDim)
        textLen = try integer(.textLen, nil, base.textLen)
        patchSize = try values.decodeIfPresent([Int].self, forKey: .patchSize) ?? base.patchSize
        eps = try values.decodeIfPresent(Double.self, forKey: .eps) ?? base.eps
        crossAttnNorm =
            try values.decodeIfPresent(Bool.self, forKey: .crossAttnNorm) ?? base.crossAttnNorm
        imageDim = try values.decodeIfPresent(Int.self, forKey: .imageDim)
        imagePositions = try values.decodeIfPresent(Int.self, forKey: .imagePositions)
        vaceLayers = try values.decodeIfPresent([Int].self, forKey: .vaceLayers)
        vaceInDim =
            try values.decodeIfPresent(Int.self, forKey: .vaceInDim)
            ?? values.decodeIfPresent(Int.self, forKey: .vaceInChannels)
        // diffusers names the kind of norm; the original has a flag.
        do {
            qkNorm = try values.decodeIfPresent(Bool.self, forKey: .qkNorm) ?? base.qkNorm
        } catch DecodingError.typeMismatch {
            qkNorm = try !values.decode(String.self, forKey: .qkNorm).isEmpty
        }
        try checked(values) { () throws(SwanError) in
            try validate()
            try NumberLimits.require(
                headDim.map { $0 * heads == dim } ?? true,
                "dim \(dim) is not num_attention_heads \(heads) times attention_head_dim"
            )
        }
    }

    /// Writes the original names, and those of diffusers for values that the original does not
    /// name.
    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: Key.self)
        try values.encode(dim, forKey: .dim)
        try values.encode(ffnDim, forKey: .ffnDim)
        try values.encode(heads, forKey: .heads)
        try values.encode(layers, forKey: .layers)
        try values.encode(inDim, forKey: .inDim)
        try values.encode(outDim, forKey: .outDim)
        try values.encode(freqDim, forKey: .freqDim)
        try values.encode(textDim, forKey: .textDim)
        try values.encode(textLen, forKey: .textLen)
        try values.encode(patchSize, forKey: .patchSize)
        try values.encode(eps, forKey: .eps)
        try values.encode(qkNorm, forKey: .qkNorm)
        try values.encode(crossAttnNorm, forKey: .crossAttnNorm)
        try values.encodeIfPresent(imageDim, forKey: .imageDim)
        try values.encodeIfPresent(imagePositions, forKey: .imagePositions)
        try values.encodeIfPresent(vaceLayers, forKey: .vaceLayers)
        try values.encodeIfPresent(vaceInDim, forKey: .vaceInDim)
    }
}
