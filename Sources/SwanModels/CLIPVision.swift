import Foundation
public import SwanSystem
public import Torch
public import TorchNN

/// The sizes of a CLIP vision transformer. Decodes from the `config.json` of transformers.
public struct CLIPVisionConfig: Sendable, Equatable {
    /// The function inside the feed-forward network.
    public enum Activation: String, Sendable, Codable {
        /// The Gaussian error linear unit, exact.
        case gelu
        /// x sigmoid(1.702 x).
        case quickGELU = "quick_gelu"
    }

    /// Width of the tokens.
    public var dim = 1_280
    /// Width inside the feed-forward network.
    public var ffnDim = 5_120
    /// Attention heads.
    public var heads = 16
    /// Blocks, the last one included, which is not computed.
    public var layers = 32
    /// Rows and columns of pixels in one token.
    public var patchSize = 14
    /// Rows and columns of pixels in an image.
    public var imageSize = 224
    /// Added to variances.
    public var eps = 1e-5
    /// The function inside the feed-forward network.
    public var activation = Activation.gelu

    /// The sizes of ViT-H/14, to be changed.
    public init() {}

    /// ViT-H/14, the image encoder of Wan 2.1.
    public static let vitH14 = CLIPVisionConfig()

    /// Tokens of an image, that of the whole image included.
    public var tokens: Int { (imageSize / patchSize) * (imageSize / patchSize) + 1 }

    /// Whether a weight under its original name is known to be of no use: those of the text encoder,
    /// of the last block and of what follows it.
    public func isUnused(_ key: String) -> Bool {
        let unused = [
            "textual.", "log_scale", "visual.post_norm.", "visual.head",
            "visual.transformer.\(layers - 1).",
        ]
        return unused.contains { key.hasPrefix($0) }
    }
}

extension CLIPVisionConfig {
    /// Throws `invalidWeights` with the name of the first size that no encoder can have.
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

    /// Decodes and checks; the sizes are needed, the rest has the values of transformers.
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
/// CLIP, https://arxiv.org/abs/2103.00020. The tokens are those that go into the last block, as in
/// wan/modules/clip.py; the last block and what follows it are not built.
public struct CLIPVision: Sendable {
    /// The sizes.
    public let config: CLIPVisionConfig
    private let patchEmbedding: Tensor
    private let clsEmbedding, posEmbedding: Tensor
    private let preNorm: LayerNorm
    private let blocks: [CLIPVisionBlock]

    /// The encoder under a path, in the key names of Wan's checkpoint (`visual` and below).
    ///
    /// `weights.finish(ignoring: config.isUnused)` accepts what the checkpoint has beside it.
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

    /// Images [B, 3, H, W] of any size with values -1 ... 1 -> tokens [B, 257, dim].
    public func callAsFunction(_ images: Tensor) throws(SwanError) -> Tensor {
        try tokens(Self.pixels(images, size: config.imageSize))
    }

    /// Pixels as CLIP was trained with [B, 3, imageSize, imageSize] -> tokens [B, 257, dim].
    public func tokens(_ pixels: Tensor) throws(SwanError) -> Tensor {
        let size = config.imageSize
        guard pixels.rank == 4, Array(pixels.shape[1...]) == [3, size, size] else {
            throw SwanError(
                .invalidArgument,
                "pixels \(pixels.shape): the image encoder takes [B, 3, \(size), \(size)]"
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

    /// Images [B, 3, H, W] with values -1 ... 1 -> [B, 3, size, size] as CLIP was trained with.
    ///
    /// Squeezed into a square by bicubic interpolation without antialiasing, as in Wan; CLIP's own
    /// preparation would crop and antialias.
    public static func pixels(_ images: Tensor, size: Int = 224) throws(SwanError) -> Tensor {
        guard images.rank == 4, images.size(1) == 3 else {
            throw SwanError(
                .invalidArgument,
                "images \(images.shape): the image encoder takes [B, 3, H, W]"
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

/// Attention over all tokens, then a feed-forward network, each added to its input.
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
