public import SwanSystem

/// The configuration of a student for pictures, decoded from its `config.json`.
public struct LiteStudentConfig: Sendable, Equatable {
    /// How the tokens of a picture know their places.
    public enum Positions: String, Sendable, Codable, CaseIterable {
        /// They do not, as published: convolutions at the ends alone see neighbors.
        case none
        /// Queries and keys are rotated as in Wan's transformer.
        case rope
    }

    /// The width of the tokens.
    public var hiddenSize = 1_024
    /// The number of blocks.
    public var depth = 16
    /// The number of attention heads.
    public var heads = 16
    /// The channels of the latents.
    public var channels = 4
    /// The width and height of its pictures in pixels.
    public var imageSize = 1_024
    /// The pixels that a latent stands for, as published.
    public var patchSize = 16
    /// The width of text embeddings.
    public var textDim = 4_096
    /// How the tokens know their places.
    public var positions = Positions.none

    /// Creates the published configuration, to be modified.
    public init() {}

    /// The size of an attention head.
    public var headDim: Int { hiddenSize / heads }
}

extension LiteStudentConfig {
    /// Throws `invalidWeights` with the name of the first invalid size.
    public func validate() throws(SwanError) {
        let limits = NumberLimits.self
        for (key, width) in [
            ("hidden_size", hiddenSize), ("num_heads", heads), ("num_channels", channels),
            ("text_encoder_output_dim", textDim),
        ] {
            try limits.require(width, in: limits.width, key)
        }
        try limits.require(depth, in: limits.layers, "depth")
        try limits.require(imageSize, in: limits.side, "image_size")
        try limits.require(patchSize, in: 1...256, "patch_size")
        try limits.require(
            hiddenSize.isMultiple(of: heads),
            "hidden_size \(hiddenSize) must be a multiple of num_heads \(heads)"
        )
        try limits.require(
            hiddenSize.isMultiple(of: 2) && hiddenSize > 2,
            "hidden_size \(hiddenSize) must be even and at least 4: half of a timestep's embedding "
                + "is sines, half cosines"
        )
        try limits.require(
            positions == .none || headDim.isMultiple(of: 2),
            "positions: rope needs an even head size; hidden_size \(hiddenSize) by num_heads "
                + "\(heads) is \(headDim)"
        )
    }
}

extension LiteStudentConfig: Codable {
    private enum CodingKeys: String, CodingKey {
        case hiddenSize = "hidden_size", depth, heads = "num_heads", channels = "num_channels"
        case imageSize = "image_size", patchSize = "patch_size"
        case textDim = "text_encoder_output_dim", positions
    }

    /// Decodes and validates. `hidden_size`, `depth`, `num_heads` and `num_channels` are required,
    /// the rest defaults to what was published.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        let base = LiteStudentConfig()
        hiddenSize = try values.decode(Int.self, forKey: .hiddenSize)
        depth = try values.decode(Int.self, forKey: .depth)
        heads = try values.decode(Int.self, forKey: .heads)
        channels = try values.decode(Int.self, forKey: .channels)
        imageSize = try values.decodeIfPresent(Int.self, forKey: .imageSize) ?? base.imageSize
        patchSize = try values.decodeIfPresent(Int.self, forKey: .patchSize) ?? base.patchSize
        textDim = try values.decodeIfPresent(Int.self, forKey: .textDim) ?? base.textDim
        positions =
            try values.decodeIfPresent(Positions.self, forKey: .positions) ?? base.positions
        try checked(values) { () throws(SwanError) in try validate() }
    }
}
