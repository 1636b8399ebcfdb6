import Foundation
import SwanCheckpoints
import SwanModels
import SwanText
import Torch
import TorchNN

extension StreamModel {
    /// Loads a model by a bundled one's name or a folder's path.
    ///
    /// - Parameters:
    ///   - dtype: what the weights are converted to.
    ///   - vae: `tiny` for the tiny autoencoder in the folder, `tiny-decoder` for its decoder with the
    ///     model's own encoder, or a path of another one; nil for the model's own.
    ///   - configuration: a YAML file to stream by, instead of the model's own.
    public static func load(
        _ nameOrPath: String,
        dtype: DType,
        device: Device,
        vae: String? = nil,
        configuration: String? = nil
    ) throws -> StreamModel {
        let folder = try ModelFolder(BundledModels.folder(nameOrPath) ?? nameOrPath)
        let streamConfiguration = try folder.configuration(configuration)
        let tokenizerFile = try folder.require(.tokenizer).data
        let parts = try (folder.require(.transformer), folder.require(.textEncoder))
        let transformerConfig = try WanConfig.read(parts.0)
        let autoencoder = try AutoencoderChoice(
            vae,
            in: folder,
            latentChannels: transformerConfig.inDim
        )
        let textConfig = try UMT5Config.read(parts.1)
        try PartsFit(
            transformer: transformerConfig,
            latentChannels: autoencoder.latentChannels,
            temporalStride: autoencoder.temporalStride,
            spatialStride: autoencoder.spatialStride,
            textEncoder: textConfig,
            streams: true
        ).require(in: folder.path)
        // A tokenizer with byte pieces spells rare text out; the published one marks it unknown.
        let isPublished = textConfig.vocabulary == UMT5Config.xxl.vocabulary
        let tokenizer = try Tokenizer(
            at: tokenizerFile,
            rareText: isPublished ? .unknownMark : .bytes
        )
        try tokenizer.requireVocabulary(within: textConfig.vocabulary)
        var model = StreamModel(
            name: URL(fileURLWithPath: nameOrPath).lastPathComponent,
            transformer: try parts.0.finiteNetwork(dtype, device) { weights throws(TorchError) in
                try CausalWanTransformer(weights, transformerConfig)
            },
            vae: try autoencoder.load(dtype, device),
            textEncoder: try parts.1.finiteNetwork(dtype, device) { weights throws(TorchError) in
                try UMT5Encoder(weights, textConfig)
            },
            tokenizer: tokenizer,
            configuration: streamConfiguration,
            dtype: dtype,
            device: device
        )
        // Another way to stream teaches the model no other looks.
        if configuration != nil { model.looks = try folder.configuration().looks }
        return model
    }
}
