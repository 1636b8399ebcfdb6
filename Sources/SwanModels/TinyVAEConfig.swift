public import SwanSystem
import Torch
public import TorchNN

/// The configuration of a tiny autoencoder, derived from its weights.
public struct TinyVAEConfig: Sendable, Equatable {
    /// The number of channels of a latent.
    public var latentChannels = 16
    /// The side in pixels of the patches that are stacked into channels.
    public var patchSize = 1
    /// The number of channels of the encoder's layers.
    public var encoderDim = 64
    /// The number of channels of the decoder's three levels, and of the input of its last
    /// convolution.
    public var decoderDims = [256, 128, 64, 64]
    /// For each of the encoder's levels, the number of frames merged into one: 1 or 2.
    public var encoderTime = [2, 2, 1]
    /// For each of the decoder's levels, the number of frames that its weights produce from one: 1
    /// or 2.
    public var decoderTime = [1, 2, 2]
    /// Whether the decoder is the larger one, with depthwise convolutions.
    public var isSuper = false

    /// Creates the configuration of taew2_1, for Wan 2.1 and Wan 2.2's 14B models, to be modified.
    public init() {}

    /// taew2_1, for Wan 2.1 and Wan 2.2's 14B models: 8x8 pixels and 4 frames per latent.
    public static let wan21 = TinyVAEConfig()

    /// taew2_2, for Wan 2.2 (TI2V-5B): 16x16 pixels and 4 frames per latent.
    public static let wan22: TinyVAEConfig = {
        var config = TinyVAEConfig()
        (config.latentChannels, config.patchSize) = (48, 2)
        return config
    }()
}

extension TinyVAEConfig: LatentStrides {
    /// The width and height of a latent in pixels.
    public var spatialStride: Int { 8 * patchSize }

    /// The number of frames of a latent; a video's first latent represents a single frame.
    public var temporalStride: Int { encoderTime.reduce(1, *) }

    /// The number of frames that each level of the decoder produces from one to invert the encoder.
    ///
    /// The weights may produce more: the extra frames of earlier levels are then left out.
    var usedDecoderTime: [Int] {
        var left = temporalStride
        let used = decoderTime.reversed().map { factor in
            guard factor > 1, left % factor == 0, left > 1 else { return 1 }
            left /= factor
            return factor
        }
        return used.reversed()
    }

    /// Throws if the fields are inconsistent.
    public func validate() throws(SwanError) {
        func require(_ holds: Bool, _ message: @autoclosure () -> String) throws(SwanError) {
            guard holds else { throw SwanError(.invalidWeights, "tiny autoencoder: " + message()) }
        }
        for size in [latentChannels, patchSize, encoderDim] + decoderDims {
            try NumberLimits.require(size, in: NumberLimits.width, "a width of a tiny autoencoder")
        }
        try require(decoderDims.count == 4, "the decoder has three levels and an end")
        for (name, factors) in [("encoder", encoderTime), ("decoder", decoderTime)] {
            try require(
                factors.count == 3 && factors.allSatisfy { $0 == 1 || $0 == 2 },
                "the \(name)'s frame factors are \(factors), not three of 1 or 2"
            )
        }
        try require(
            usedDecoderTime.reduce(1, *) == temporalStride,
            "the encoder merges \(temporalStride) frames into a latent, the decoder returns at most "
                + "\(decoderTime.reduce(1, *)) frames from one"
        )
    }
}

// MARK: - From weights

extension TinyVAEConfig {
    /// Derives the configuration from the weights under a path.
    ///
    /// Throws `invalidWeights` for the weights of another network, naming what is missing.
    public init(of weights: Weights) throws(SwanError) {
        let (encoder, decoder) = (weights["encoder"], weights["decoder"])
        func kernel(_ weights: Weights) throws(SwanError) -> [Int] {
            guard let shape = try weights.shape("weight"), shape.count == 4,
                shape.allSatisfy(NumberLimits.width.contains)
            else {
                throw SwanError(
                    .invalidWeights,
                    "these are not the weights of a tiny autoencoder (TAEHV): there is no kernel "
                        + "\(weights.path).weight"
                )
            }
            return shape
        }
        self.init()
        let first = try kernel(encoder[0])
        encoderDim = first[0]
        guard let patch = (1...8).first(where: { 3 * $0 * $0 == first[1] }) else {
            throw SwanError(
                .invalidWeights,
                "tiny autoencoder: encoder.0.weight reads \(first[1]) channels, not patches "
                    + "of 3 colors"
            )
        }
        patchSize = patch
        latentChannels = try kernel(encoder[17])[0]
        encoderTime = try [2, 7, 12].map { index throws(SwanError) in
            try kernel(encoder[index]["conv"])[1] / encoderDim
        }
        isSuper = try decoder[0].has("weight")
        let names = TinyVAENames(isSuper: isSuper)
        decoderDims = [try kernel(decoder[names.start])[0]]
        decoderTime = []
        for level in names.levels {
            let grow = try kernel(decoder[level.grow]["conv"])
            let width = try kernel(decoder[level.conv])[0]
            decoderTime.append(grow[0] / grow[1])
            decoderDims.append(isSuper ? width / 4 : width)
        }
        try validate()
    }
}

/// The indices of a decoder's layers in a checkpoint.
struct TinyVAENames {
    /// A level: three blocks, the layer that adds frames, and the convolution.
    struct Level {
        let blocks: [Int]
        let grow, conv: Int
    }

    /// The convolution that reads the latents.
    let start: Int
    /// From the lowest resolution to the highest.
    let levels: [Level]
    /// The convolution that outputs pixels.
    let end = 22

    init(isSuper: Bool) {
        start = isSuper ? 0 : 1
        levels = (0..<3).map { level in
            let first = isSuper ? 1 + 7 * level : 3 + 6 * level
            return Level(
                blocks: Array(first..<(first + 3)),
                grow: first + (isSuper ? 6 : 4),
                conv: first + (isSuper ? 3 : 5)
            )
        }
    }
}
