import SwanModels
import SwanPipelines
import SwanText
import Torch
import TorchNN

/// A streaming model of a few thousand random weights: the whole way of a frame, in milliseconds.
enum RandomModel {
    static func make(
        _ change: (inout StreamConfiguration) -> Void = { _ in }, dtype: DType = .float32
    ) throws -> StreamModel {
        var transformer = WanConfig()
        (transformer.dim, transformer.ffnDim, transformer.heads, transformer.layers) = (32, 48, 2, 2)
        (transformer.inDim, transformer.outDim, transformer.freqDim) = (8, 8, 16)
        (transformer.textDim, transformer.textLen) = (16, 24)
        var vae = WanVAEConfig()
        (vae.baseDim, vae.decoderBaseDim, vae.zDim, vae.numResBlocks) = (4, 4, 8, 1)
        (vae.dimMult, vae.temporalDownsample) = ([1, 2, 2], [true, true])
        (vae.patchSize, vae.inChannels, vae.outChannels) = (2, 12, 12)
        vae.latentsMean = Array(repeating: 0, count: 8)
        vae.latentsStd = Array(repeating: 1, count: 8)
        let tokenizer = try Tokenizer(
            data: TokenizerTrainer.train(
                sentences: ["a pencil sketch of a cat", "the city at night", "neon edges"],
                vocabularySize: 300),
            rareText: .bytes)
        var text = UMT5Config()
        (text.vocabulary, text.dim, text.headDim, text.ffnDim) = (tokenizer.vocabularySize, 16, 8, 24)
        (text.heads, text.layers) = (2, 1)
        var configuration = StreamConfiguration()
        (configuration.steps, configuration.shift) = ([300, 150], 1)
        (configuration.cacheFrames, configuration.sinkFrames, configuration.noiseScale) = (4, 1, 0.4)
        change(&configuration)
        func weights(_ seed: UInt64) throws -> Weights {
            try Weights(MadeWeights.random(seed: seed), dtype: dtype)
        }
        return StreamModel(
            name: "random",
            transformer: try CausalWanTransformer(weights(1), transformer),
            vae: try WanVAE(weights(2), vae), textEncoder: try UMT5Encoder(weights(3), text),
            tokenizer: tokenizer, configuration: configuration, dtype: dtype)
    }
}
