import Foundation
public import SwanModels
import SwanText
public import Torch
import TorchNN

/// A complete model folder with a few thousand random weights, which loads in milliseconds.
public enum TinyModel {
    /// Width and height of its frames must be multiples of this.
    public static let sizeMultiple = 16
    /// The denoising steps.
    public static let steps = [300, 150]

    /// Writes the folder in the layout of `swan train`.
    ///
    /// - Parameters:
    ///   - height: The default height in its configuration.
    ///   - dtype: The dtype of the stored weights.
    public static func write(
        to path: String,
        height: Int = 32,
        width: Int = 32,
        dtype: DType = .float32
    ) throws {
        let folder = URL(fileURLWithPath: path, isDirectory: true)
        let model = try tokenizer()
        let vocabulary = try Tokenizer(data: model, rareText: .bytes).vocabularySize
        try write(model, folder, "tokenizer/spiece.model")
        try save(folder, "transformer", "diffusion_pytorch_model", transformer, dtype) {
            _ = try CausalWanTransformer($0, transformer)
        }
        try save(folder, "vae", "diffusion_pytorch_model", vae, dtype) { _ = try WanVAE($0, vae) }
        let text = textEncoder(vocabulary)
        try save(folder, "text_encoder", "model", text, dtype) { _ = try UMT5Encoder($0, text) }
        let configuration = """
            denoising_step_list: \(steps + [0])
            timestep_shift: 1.0
            warp_denoising_step: false
            num_frame_per_block: 1
            num_kv_cache: 3
            num_sink_tokens: 0
            noise_scale: 0.4
            normalize_latents: true
            height: \(height)
            width: \(width)
            fps: 16

            """
        try write(Data(configuration.utf8), folder, "stream.yaml")
    }

    /// Writes the weights of a tiny autoencoder for the model.
    public static func writeTinyVAE(to path: String) throws {
        let source = try MadeWeights.random(seed: 9)
        var config = TinyVAEConfig()
        (config.latentChannels, config.encoderDim, config.decoderDims) = (8, 8, [8, 8, 8, 8])
        _ = try TinyVAE(Weights(source), config)
        try Safetensors.write(source.tensors, to: path)
    }

    // MARK: - Sizes

    /// The sizes of the transformer.
    public static var transformer: WanConfig {
        var config = WanConfig()
        (config.dim, config.ffnDim, config.heads, config.layers) = (32, 48, 2, 2)
        (config.inDim, config.outDim, config.freqDim) = (8, 8, 16)
        (config.textDim, config.textLen) = (16, 24)
        return config
    }

    /// The sizes of the autoencoder.
    public static var vae: WanVAEConfig {
        var config = WanVAEConfig()
        (config.baseDim, config.decoderBaseDim, config.zDim, config.numResBlocks) = (4, 4, 8, 1)
        (config.dimMult, config.temporalDownsample) = ([1, 2, 2], [true, true])
        (config.patchSize, config.inChannels, config.outChannels) = (2, 12, 12)
        config.latentsMean = Array(repeating: 0, count: 8)
        config.latentsStd = Array(repeating: 1, count: 8)
        return config
    }

    private static func textEncoder(_ vocabulary: Int) -> UMT5Config {
        var config = UMT5Config()
        (config.vocabulary, config.dim, config.headDim, config.ffnDim) = (vocabulary, 16, 8, 24)
        (config.heads, config.layers) = (2, 1)
        return config
    }

    /// A tokenizer that can encode all bytes.
    static func tokenizer() throws -> Data {
        try TokenizerTrainer.train(
            sentences: ["a pencil sketch of a cat", "the city at night", "neon edges"],
            vocabularySize: 300,
            normalization: .identity
        )
    }

    // MARK: - Files

    private static func save(
        _ folder: URL,
        _ part: String,
        _ name: String,
        _ config: some Encodable,
        _ dtype: DType,
        _ build: (Weights) throws -> Void
    ) throws {
        let source = try MadeWeights.random(seed: UInt64(part.count))
        try build(Weights(source))
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        try write(encoder.encode(config), folder, part + "/config.json")
        var tensors: [String: Tensor] = [:]
        for (key, tensor) in source.tensors { tensors[key] = try tensor.to(dtype) }
        try Safetensors.write(
            tensors,
            to: folder.appendingPathComponent("\(part)/\(name).safetensors").path
        )
    }

    private static func write(_ data: Data, _ folder: URL, _ name: String) throws {
        let url = folder.appendingPathComponent(name)
        try FileManager.default.createDirectory(
            at: url.deletingLastPathComponent(),
            withIntermediateDirectories: true
        )
        try data.write(to: url)
    }
}
