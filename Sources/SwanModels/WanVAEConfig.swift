public import SwanSystem
import Torch

/// The configuration of a Wan video autoencoder, as in the config.json of diffusers'
/// `AutoencoderKLWan`.
public struct WanVAEConfig: Sendable, Equatable {
    /// The number of channels of the encoder's first level; later levels have `dimMult` times as
    /// many.
    public var baseDim = 96
    /// The same for the decoder.
    public var decoderBaseDim = 96
    /// The number of channels of a latent.
    public var zDim = 16
    /// One factor per level; between levels, height and width are halved.
    public var dimMult = [1, 2, 4, 4]
    /// The number of residual blocks in a level of the encoder; the decoder's levels have one more.
    public var numResBlocks = 2
    /// The scales (1, 0.5, 0.25 ...) with attention after every residual block.
    public var attnScales: [Double] = []
    /// For each step between two levels, whether it also halves the number of frames.
    public var temporalDownsample = [false, true, true]
    /// The side in pixels of the patches that are stacked into channels before the encoder.
    public var patchSize = 1
    /// Whether levels have a shortcut around them, as in Wan 2.2.
    public var isResidual = false
    /// Whether the decoder upsamples by sub-pixel convolutions. Wan's own decoders convolve
    /// upsampled pixels instead; this key is an extension of Swan.
    public var subpixelUpsample = false
    /// The number of input channels of the encoder: pixel channels times `patchSize` squared.
    public var inChannels = 3
    /// The number of output channels of the decoder.
    public var outChannels = 3
    /// The mean of each latent channel.
    public var latentsMean: [Double] = [
        -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
        0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921,
    ]
    /// The standard deviation of each latent channel.
    public var latentsStd: [Double] = [
        2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
        3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160,
    ]

    /// Creates the configuration of Wan 2.1, to be modified.
    public init() {}

    /// The autoencoder of Wan 2.1 (also of Wan 2.2's 14B models): 8x8 pixels and 4 frames per
    /// latent.
    public static let wan21 = WanVAEConfig()

    /// The autoencoder of Wan 2.2 (TI2V-5B): 16x16 pixels and 4 frames per latent.
    public static let wan22: WanVAEConfig = {
        var config = WanVAEConfig()
        config.baseDim = 160
        config.decoderBaseDim = 256
        config.zDim = 48
        config.patchSize = 2
        config.isResidual = true
        config.inChannels = 12
        config.outChannels = 12
        config.latentsMean = [
            -0.2289, -0.0052, -0.1323, -0.2339, -0.2799, 0.0174, 0.1838, 0.1557,
            -0.1382, 0.0542, 0.2813, 0.0891, 0.1570, -0.0098, 0.0375, -0.1825,
            -0.2246, -0.1207, -0.0698, 0.5109, 0.2665, -0.2108, -0.2158, 0.2502,
            -0.2055, -0.0322, 0.1109, 0.1567, -0.0729, 0.0899, -0.2799, -0.1230,
            -0.0313, -0.1649, 0.0117, 0.0723, -0.2839, -0.2083, -0.0520, 0.3748,
            0.0152, 0.1957, 0.1433, -0.2944, 0.3573, -0.0548, -0.1681, -0.0667,
        ]
        config.latentsStd = [
            0.4765, 1.0364, 0.4514, 1.1677, 0.5313, 0.4990, 0.4818, 0.5013,
            0.8158, 1.0344, 0.5894, 1.0901, 0.6885, 0.6165, 0.8454, 0.4978,
            0.5759, 0.3523, 0.7135, 0.6804, 0.5833, 1.4146, 0.8986, 0.5659,
            0.7069, 0.5338, 0.4889, 0.4917, 0.4069, 0.4999, 0.6866, 0.4093,
            0.5709, 0.6065, 0.6415, 0.4944, 0.5726, 1.2042, 0.5458, 1.6887,
            0.3971, 1.0600, 0.3943, 0.5537, 0.5444, 0.4089, 0.7468, 0.7744,
        ]
        return config
    }()
}

// MARK: - Derived values

extension WanVAEConfig: LatentStrides {
    /// The width and height of a latent in pixels.
    public var spatialStride: Int { patchSize << (dimMult.count - 1) }

    /// The number of frames of a latent; a video's first latent represents a single frame.
    public var temporalStride: Int { 1 << temporalDownsample.count { $0 } }

    /// Throws `invalidWeights` with the name of the first inconsistent field.
    public func validate() throws(SwanError) {
        try validateSizes()
        for (key, values) in [("latents_mean", latentsMean), ("latents_std", latentsStd)] {
            try NumberLimits.require(
                values.count == zDim,
                "\(key) has \(values.count) values, z_dim is \(zDim)"
            )
        }
    }

    /// Validates everything except the number of the latents' statistics, which weights can
    /// provide.
    private func validateSizes() throws(SwanError) {
        let limits = NumberLimits.self
        try limits.require(1...8 ~= dimMult.count, "dim_mult must list 1 to 8 levels")
        for factor in dimMult { try limits.require(factor, in: 1...1_024, "dim_mult") }
        try limits.require(
            temporalDownsample.count == dimMult.count - 1,
            "temperal_downsample must list one step fewer than dim_mult, \(dimMult.count - 1)"
        )
        try limits.require(zDim, in: limits.width, "z_dim")
        try limits.require(numResBlocks, in: 1...64, "num_res_blocks")
        try limits.require(patchSize, in: limits.patch, "patch_size")
        for (key, base) in [("base_dim", baseDim), ("decoder_base_dim", decoderBaseDim)] {
            try limits.require(base, in: limits.width, key)
            for factor in dimMult {
                try limits.require(base * factor, in: limits.width, "\(key) times dim_mult")
            }
        }
        for (key, channels) in [("in_channels", inChannels), ("out_channels", outChannels)] {
            try limits.require(channels, in: limits.width, key)
            try limits.require(
                channels % (patchSize * patchSize) == 0,
                "\(key) is \(channels); it must be a multiple of patch_size squared"
            )
        }
        for value in latentsMean { try limits.require(value, in: limits.mean, "latents_mean") }
        for value in latentsStd { try limits.require(value, in: limits.deviation, "latents_std") }
        try limits.require(attnScales.count <= 8, "attn_scales lists more than 8 scales")
        for scale in attnScales { try limits.require(scale, in: 0...1, "attn_scales") }
        try validateUpsampling()
    }

    private func validateUpsampling() throws(SwanError) {
        // Upsampling halves the channels if no shortcut is added to its output.
        try NumberLimits.require(
            isResidual || dimMult.dropFirst().allSatisfy { decoderBaseDim * $0 % 2 == 0 },
            "decoder_base_dim times dim_mult must be even"
        )
        try NumberLimits.require(
            !(isResidual && subpixelUpsample),
            "subpixel_upsample requires is_residual: false"
        )
        try NumberLimits.require(
            !isResidual || shortcutsFit,
            "the channels of dim_mult \(dimMult) do not divide into those of the shortcuts"
        )
    }

    /// Whether the channels that shortcuts average or repeat divide evenly.
    private var shortcutsFit: Bool {
        func fits(_ from: Int, _ to: Int, _ factor: Int) -> Bool {
            from * factor % to == 0
        }
        let mults = [1] + dimMult
        for level in dimMult.indices {
            let factor = level < dimMult.count - 1 ? (temporalDownsample[level] ? 8 : 4) : 1
            guard fits(mults[level], mults[level + 1], factor) else { return false }
        }
        let back = [dimMult[dimMult.count - 1]] + dimMult.reversed()
        for (level, time) in temporalDownsample.reversed().enumerated() {
            guard fits(back[level + 1], back[level], time ? 8 : 4) else { return false }
        }
        return true
    }
}

// MARK: - config.json

extension WanVAEConfig: Codable {
    private enum CodingKeys: String, CodingKey {
        case baseDim = "base_dim"
        case decoderBaseDim = "decoder_base_dim"
        case zDim = "z_dim"
        case dimMult = "dim_mult"
        case numResBlocks = "num_res_blocks"
        case attnScales = "attn_scales"
        // The spelling of the published files.
        case temporalDownsample = "temperal_downsample"
        case patchSize = "patch_size"
        case isResidual = "is_residual"
        case subpixelUpsample = "subpixel_upsample"
        case inChannels = "in_channels"
        case outChannels = "out_channels"
        case latentsMean = "latents_mean"
        case latentsStd = "latents_std"
    }

    /// Reads diffusers' keys; missing ones default to the values of Wan 2.1.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        func read<Value: Decodable>(_ key: CodingKeys, _ fallback: Value) throws -> Value {
            try values.decodeIfPresent(Value.self, forKey: key) ?? fallback
        }
        self.init()
        baseDim = try read(.baseDim, baseDim)
        decoderBaseDim = try read(.decoderBaseDim, baseDim)
        zDim = try read(.zDim, zDim)
        dimMult = try read(.dimMult, dimMult)
        numResBlocks = try read(.numResBlocks, numResBlocks)
        attnScales = try read(.attnScales, attnScales)
        temporalDownsample = try read(.temporalDownsample, temporalDownsample)
        patchSize = try read(.patchSize, patchSize)
        isResidual = try read(.isResidual, isResidual)
        subpixelUpsample = try read(.subpixelUpsample, subpixelUpsample)
        inChannels = try read(.inChannels, inChannels)
        outChannels = try read(.outChannels, outChannels)
        latentsMean = try read(.latentsMean, latentsMean)
        latentsStd = try read(.latentsStd, latentsStd)
        try checked(values) { () throws(SwanError) in try validateSizes() }
    }
}
