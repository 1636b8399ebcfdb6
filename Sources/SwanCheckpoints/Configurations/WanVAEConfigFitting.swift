public import SwanModels
public import SwanSystem
import Torch
public import TorchNN

extension WanVAEConfig {
    /// Returns this configuration with the sizes that the shapes of the weights determine.
    ///
    /// The original checkpoints have no configuration file. No shape determines the mean and standard
    /// deviation of the latents: unless this configuration has one for each channel, those of Wan 2.1 are
    /// used for 16 channels and those of Wan 2.2 for 48.
    ///
    /// - Parameter source: The weights of an autoencoder in Wan's own names (`inWanNames()`).
    /// - Throws: `invalidWeights` if a weight that every autoencoder has is missing, or if
    ///   there are no statistics.
    public func fitted(to source: any WeightSource) throws(SwanError) -> WanVAEConfig {
        guard !source.generatesTensors else { return self }
        var config = self
        func size(_ key: String, _ dim: Int) throws(SwanError) -> Int {
            let rank = key.hasSuffix(".gamma") ? 4 : 5
            guard let shape = try source.shape(key), shape.count == rank else {
                throw SwanError(
                    .invalidWeights,
                    "there is no \(rank)-dimensional weight \(key): these are not the weights of a "
                        + "Wan autoencoder"
                )
            }
            try NumberLimits.require(shape[dim], in: NumberLimits.width, "the width of \(key)")
            return shape[dim]
        }
        config.zDim = try size("conv2.weight", 0)
        if config.latentsMean.count != config.zDim || config.latentsStd.count != config.zDim {
            guard let published = [Self.wan21, .wan22].first(where: { $0.zDim == config.zDim })
            else {
                throw SwanError(
                    .invalidWeights,
                    "the autoencoder has \(config.zDim) channels; add a configuration with "
                        + "\"latents_mean\" and \"latents_std\" to specify their scale"
                )
            }
            config.latentsMean = published.latentsMean
            config.latentsStd = published.latentsStd
        }
        config.baseDim = try size("encoder.conv1.weight", 0)
        config.inChannels = try size("encoder.conv1.weight", 1)
        config.outChannels = try size("decoder.head.2.weight", 0)
        config.patchSize = config.inChannels == 12 ? 2 : 1
        config.isResidual =
            try source.shape("encoder.downsamples.0.downsamples.0.residual.2.weight") != nil
        try config.readLevels(source)
        config.decoderBaseDim = try size("decoder.head.0.gamma", 0) / config.dimMult[0]
        // Upsampling halves the channels; sub-pixel upsampling has four times as many outputs. Residual
        // autoencoders have no such key.
        let upsample = "decoder.upsamples.\(config.numResBlocks + 1).resample.1.weight"
        let shape = try source.shape(upsample) ?? []
        config.subpixelUpsample =
            shape.count == 4 && shape[0].isMultiple(of: 2) && shape[0] / 2 == shape[1]
        try config.validate()
        return config
    }

    /// Reads the encoder's levels: residual blocks, then downsampling in space and, in some levels, in time.
    private mutating func readLevels(_ source: any WeightSource) throws(SwanError) {
        var dims: [Int] = []
        var halvesFrames: [Bool] = []
        var blocks = 0
        var (level, index) = (0, 0)
        while true {
            let path =
                isResidual
                ? "encoder.downsamples.\(level).downsamples.\(index)"
                : "encoder.downsamples.\(index)"
            index += 1
            if let shape = try source.shape(path + ".residual.2.weight") {
                if dims.count == level { dims.append(shape.first ?? 0) }
                if level == 0 { blocks += 1 }
            } else if try source.shape(path + ".resample.1.weight") != nil {
                halvesFrames.append(try source.shape(path + ".time_conv.weight") != nil)
                level += 1
                if isResidual { index = 0 }
            } else {
                break
            }
        }
        guard blocks > 0, dims.count == level + 1, baseDim > 0,
            dims.allSatisfy({ $0 > 0 && $0 % baseDim == 0 })
        else {
            throw SwanError(
                .invalidWeights,
                "the encoder's levels \(dims) over \(baseDim) channels are not those of a Wan "
                    + "autoencoder"
            )
        }
        dimMult = dims.map { $0 / baseDim }
        temporalDownsample = halvesFrames
        numResBlocks = blocks
    }
}
