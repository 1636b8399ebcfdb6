import SwanCheckpoints
import SwanModels
import Torch

extension ModelFolder.Configs {
    /// The approximate memory that a stream needs in addition to its weights, in bytes: the KV
    /// cache and the largest activations of the transformer and the decoder.
    func streamBytes(_ options: StreamOptions, _ dtype: DType) -> Int {
        let configuration = options.configuration
        let isBatch = options.settings.streamBatch && configuration.contextNoise == nil
        let rows = isBatch ? configuration.steps.count : 1
        let tokens = transformer.tokensPerFrame(
            height: options.height / spatialStride,
            width: options.width / spatialStride
        )
        let cache = 2 * transformer.layers * transformer.dim * configuration.cacheFrames
        let activations =
            configuration.framesPerBlock * (4 * transformer.dim + transformer.ffnDim)
        let (patch, features) = autoencoder?.decoderFeatures ?? vae.decoderFeatures
        let pixels = options.height * options.width / (patch * patch)
        // Computed in floating point to avoid overflow: a cache can be far larger than any memory.
        let numbers =
            Double(rows * tokens) * Double(cache + activations) + Double(pixels * features)
        return Int(min(numbers * Double(dtype.size), 1e18))
    }
}
