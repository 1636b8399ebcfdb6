import Foundation
public import SwanSystem
public import Torch
public import TorchNN

/// The configuration of a CLIP vision transformer, decoded from the `config.json` of transformers.
public struct CLIPVisionConfig: Sendable, Equatable {
    /// The activation function of the feed-forward network.
    public enum Activation: String, Sendable, Codable {
        /// The exact Gaussian error linear unit.
        case gelu
        /// x sigmoid(1.702 x).
        case quickGELU = "quick_gelu"
    }

    /// The width of the tokens.
    public var dim = 1_280
    /// The width of the feed-forward network.
    public var ffnDim = 5_120
    /// The number of attention heads.
    public var heads = 16
    /// The number of blocks, including the last one, which is not computed.
    public var layers = 32
    /// The width and height of a patch in pixels.
    public var patchSize = 14
    /// The width and height of an image in pixels.
    public var imageSize = 224
    /// The epsilon added to variances.
    public var eps = 1e-5
    /// The activation function of the feed-forward network.
    public var activation = Activation.gelu

    /// Creates the configuration of ViT-H/14, to be modified.
    public init() {}

    /// ViT-H/14, the image encoder of Wan 2.1.
    public static let vitH14 = CLIPVisionConfig()

    /// The number of tokens of an image, including the class token.
    public var tokens: Int { (imageSize / patchSize) * (imageSize / patchSize) + 1 }

    /// Whether a weight, by its original name, is known not to be needed: those of the text
    /// encoder, of the last block and of what follows it.
    public func isUnused(_ key: String) -> Bool {
        let unused = [
            "textual.", "log_scale", "visual.post_norm.", "visual.head",
            "visual.transformer.\(layers - 1).",
        ]
        return unused.contains { key.hasPrefix($0) }
    }
}

extension CLIPVisionConfig {
    /// Throws `invalidWeights` with the name of the first invalid size.
    public func validate() throws(SwanError) {
        let limits = NumberLimits.self
        for (key, width) in [
            ("hidden_size", dim), ("intermediate_size", ffnDim), ("num_attention_heads", heads),
        ] {
            try limits.require(width, in: limits.width, key)
        }
        try limits.require(dim % heads == 0, "hidden_size \(dim) for \(heads) attention heads")
        try limits.require(layers, in: 2...limits.layers.upperBound, "num_hidden_layers")
        try limits.require(imageSize, in: limits.side, "image_size")
        try limits.require(patchSize, in: 1...imageSize, "patch_size")
        try limits.require(tokens, in: limits.tokens, "the number of patches and one more")
        try limits.require(eps, in: limits.epsilon, "layer_norm_eps")
    }
}

extension CLIPVisionConfig: Codable {
    private enum CodingKeys: String, CodingKey {
        case dim = "hidden_size", ffnDim = "intermediate_size", heads = "num_attention_heads"
        case layers = "num_hidden_layers", patchSize = "patch_size", imageSize = "image_size"
        case eps = "layer_norm_eps", activation = "hidden_act"
    }

    /// Decodes and validates; the sizes are required, the rest defaults to the values of
    /// transformers.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        dim = try values.decode(Int.self, forKey: .dim)
        ffnDim = try values.decode(Int.self, forKey: .ffnDim)
        heads = try values.decode(Int.self, forKey: .heads)
        layers = try values.decode(Int.self, forKey: .layers)
        patchSize = try values.decode(Int.self, forKey: .patchSize)
        imageSize = try values.decodeIfPresent(Int.self, forKey: .imageSize) ?? 224
        eps = try values.decodeIfPresent(Double.self, forKey: .eps) ?? 1e-5
        activation =
            try values.decodeIfPresent(Activation.self, forKey: .activation) ?? .quickGELU
        try checked(values) { () throws(SwanError) in try validate() }
    }
}

/// The image encoder of Wan 2.1: images to the tokens that a transformer's cross-attention sees.
///
/// CLIP, https://arxiv.org/abs/2103.00020. The tokens are the input of the last block, as in
/// wan/modules/clip.py; the last block and what follows it are not built.
public struct CLIPVision: Sendable {
    /// The configuration.
    public let config: CLIPVisionConfig
    private let patchEmbedding: Tensor
    private let clsEmbedding, posEmbedding: Tensor
    private let preNorm: LayerNorm
    private let blocks: [CLIPVisionBlock]

    /// Loads the encoder under a path, with the key names of Wan's checkpoint (`visual` and below).
    ///
    /// `weights.finish(ignoring: config.isUnused)` accepts the other weights of the checkpoint.
    public init(_ weights: Weights, _ config: CLIPVisionConfig) throws(SwanError) {
        try config.validate()
        self.config = config
        let (visual, dim) = (weights["visual"], config.dim)
        patchEmbedding = try visual["patch_embedding"]
            .tensor("weight", [dim, 3, config.patchSize, config.patchSize])
        clsEmbedding = try visual.tensor("cls_embedding", [1, 1, dim])
        posEmbedding = try visual.tensor("pos_embedding", [1, config.tokens, dim])
        preNorm = try LayerNorm(visual["pre_norm"], dim, eps: config.eps)
        var blocks: [CLIPVisionBlock] = []
        for index in 0..<(config.layers - 1) {
            blocks.append(try CLIPVisionBlock(visual["transformer"][index], config))
        }
        self.blocks = blocks
    }

    /// Encodes images [B, 3, H, W] of any size with values -1 ... 1 to tokens [B, 257, dim].
    public func callAsFunction(_ images: Tensor) throws(SwanError) -> Tensor {
        try tokens(Self.pixels(images, size: config.imageSize))
    }

    /// Encodes pixels in CLIP's normalization [B, 3, imageSize, imageSize] to tokens [B, 257, dim].
    public func tokens(_ pixels: Tensor) throws(SwanError) -> Tensor {
        let size = config.imageSize
        guard pixels.rank == 4, Array(pixels.shape[1...]) == [3, size, size] else {
            throw SwanError(
                .invalidArgument,
                "pixels \(pixels.shape): the image encoder expects [B, 3, \(size), \(size)]"
            )
        }
        let kernel = [config.patchSize, config.patchSize]
        let input = try pixels.to(patchEmbedding.device, patchEmbedding.dtype)
        let patches = try conv2d(input, patchEmbedding, stride: kernel)
            .flattened(from: 2).transposed(1, 2)  // [B, L - 1, C]
        let cls = try clsEmbedding.expanded([pixels.size(0), -1, -1])
        var x = try preNorm(concatenated([cls, patches], dim: 1) + posEmbedding)  // [B, L, C]
        for block in blocks { x = try block(x) }
        return x
    }

    /// Resizes images [B, 3, H, W] with values -1 ... 1 to [B, 3, size, size] in CLIP's
    /// normalization.
    ///
    /// Images are squeezed into a square by bicubic interpolation without antialiasing, as in Wan;
    /// CLIP's own preprocessing would crop and antialias.
    public static func pixels(_ images: Tensor, size: Int = 224) throws(SwanError) -> Tensor {
        guard images.rank == 4, images.size(1) == 3 else {
            throw SwanError(
                .invalidArgument,
                "images \(images.shape): the image encoder expects [B, 3, H, W]"
            )
        }
        let mean = try Tensor([0.481_454_66, 0.457_827_5, 0.408_210_73] as [Float], [1, 3, 1, 1])
        let deviation = try Tensor(
            [0.268_629_54, 0.261_302_58, 0.275_777_11] as [Float],
            [1, 3, 1, 1]
        )
        let square = try images.to(.float32).resizedBicubic(height: size, width: size)
        return try (square * 0.5 + 0.5 - mean.to(images.device)) / deviation.to(images.device)
    }
}

/// Attention over all tokens and a feed-forward network, each with a residual connection.
private struct CLIPVisionBlock: Sendable {
    let norm1, norm2: LayerNorm
    let qkv, proj: Linear
    let up, down: Linear
    let heads: Int
    let activation: CLIPVisionConfig.Activation

    init(_ weights: Weights, _ config: CLIPVisionConfig) throws(SwanError) {
        norm1 = try LayerNorm(weights["norm1"], config.dim, eps: config.eps)
        norm2 = try LayerNorm(weights["norm2"], config.dim, eps: config.eps)
        qkv = try Linear(weights["attn"]["to_qkv"], config.dim, 3 * config.dim)
        proj = try Linear(weights["attn"]["proj"], config.dim, config.dim)
        up = try Linear(weights["mlp"][0], config.dim, config.ffnDim)
        down = try Linear(weights["mlp"][2], config.ffnDim, config.dim)
        heads = config.heads
        activation = config.activation
    }

    /// x [B, L, C].
    func callAsFunction(_ x: Tensor) throws(SwanError) -> Tensor {
        // [B, L, N, D] x 3
        let parts = try qkv(norm1(x)).unflattened(-1, [3, heads, -1]).unbound(2)
        let attended = try x + proj(attention(parts[0], parts[1], parts[2]).flattened(from: 2))
        return try attended + down(activate(up(norm2(attended))))
    }

    private func activate(_ x: Tensor) throws(SwanError) -> Tensor {
        switch activation {
        case .gelu: try x.gelu()
        case .quickGELU: try x * (x * 1.702).sigmoid()
        }
    }
}
