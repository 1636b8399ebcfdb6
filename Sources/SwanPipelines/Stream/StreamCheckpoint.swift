import Foundation
package import SwanCheckpoints
import SwanModels
import SwanSystem
import SwanText
public import Torch
import TorchNN

/// A model that streams, opened: where its parts are, their sizes and how it streams. No weights are read.
package struct StreamCheckpoint: Sendable {
    /// What the model is called in reports.
    package let name: String
    /// Where its parts are.
    package let folder: ModelFolder
    /// The sizes of its parts, with the autoencoder that was asked for.
    package let configs: ModelFolder.Configs
    /// How it streams.
    package let configuration: StreamConfiguration
    /// The looks that it knows; another way to stream teaches it no other looks.
    private let looks: KnownLooks?
    private let autoencoder: AutoencoderChoice

    /// Opens a model by a bundled one's name or a folder's path.
    ///
    /// - Parameters:
    ///   - vae: `tiny` for the tiny autoencoder in the folder, `tiny-decoder` for its decoder with the
    ///     model's own encoder, or a path of another one; nil for the model's own.
    ///   - configuration: a YAML file to stream by, instead of the model's own.
    package init(_ nameOrPath: String, vae: String? = nil, configuration path: String? = nil) throws
    {
        name = URL(fileURLWithPath: nameOrPath).lastPathComponent
        folder = try ModelFolder(BundledModels.folder(nameOrPath) ?? nameOrPath)
        configuration = try folder.configuration(path)
        looks = path == nil ? configuration.looks : try folder.configuration().looks
        try folder.require(ModelFolder.Part.ofEveryModel.filter { vae == nil || $0 != .vae })
        var configs = try folder.configs()
        autoencoder = try AutoencoderChoice(
            vae,
            in: folder,
            latentChannels: configs.transformer.inDim
        )
        configs.autoencoder = autoencoder
        self.configs = configs
    }

    /// Loads the networks; every key must fit, every number be finite.
    ///
    /// - Parameter dtype: what the weights are converted to.
    package func load(_ dtype: DType, _ device: Device) throws -> StreamModel {
        let (transformer, textEncoder) = (configs.transformer, configs.textEncoder)
        try PartsFit(
            transformer: transformer,
            latentChannels: autoencoder.latentChannels,
            temporalStride: autoencoder.temporalStride,
            spatialStride: autoencoder.spatialStride,
            textEncoder: textEncoder,
            streams: true
        ).require(in: folder.path)
        // A tokenizer with byte pieces spells rare text out; the published one marks it unknown.
        let isPublished = textEncoder.vocabulary == UMT5Config.xxl.vocabulary
        let tokenizer = try Tokenizer(
            at: folder.require(.tokenizer).data,
            rareText: isPublished ? .unknownMark : .bytes
        )
        try tokenizer.requireVocabulary(within: textEncoder.vocabulary)
        var model = StreamModel(
            name: name,
            transformer: try folder.finiteNetwork(
                of: folder.require(.transformer),
                dtype,
                device
            ) { weights throws(SwanError) in try CausalWanTransformer(weights, transformer) },
            vae: try autoencoder.load(from: folder, dtype, device),
            textEncoder: try folder.finiteNetwork(
                of: folder.require(.textEncoder),
                dtype,
                device
            ) { weights throws(SwanError) in try UMT5Encoder(weights, textEncoder) },
            tokenizer: tokenizer,
            configuration: configuration,
            dtype: dtype,
            device: device
        )
        model.looks = looks
        return model
    }
}

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
        try StreamCheckpoint(nameOrPath, vae: vae, configuration: configuration)
            .load(dtype, device)
    }
}
