import Foundation
package import SwanCheckpoints
import SwanModels
import SwanSystem
public import Torch
import TorchNN

/// An opened streaming model: its parts, their sizes and its configuration, without weights.
package struct StreamCheckpoint: Sendable {
    /// The model's name in reports.
    package let name: String
    /// The folder that contains the model's parts.
    package let folder: ModelFolder
    /// The configurations of the parts, with the requested autoencoder.
    package let configs: ModelFolder.Configs
    /// The streaming configuration.
    package let configuration: StreamConfiguration
    /// The styles that the model knows, from its own configuration even if another one is used.
    private let styles: KnownStyles?
    private let autoencoder: AutoencoderChoice
    private let loras: LoRASet

    /// Opens a model by the name of a bundled one or the path of a folder.
    ///
    /// - Parameters:
    ///   - vae: `tiny` for the tiny autoencoder in the folder, `tiny-decoder` for its decoder with the
    ///     model's own encoder, or the path of another one; `nil` for the model's own.
    ///   - configuration: The path of a YAML streaming configuration that replaces the model's own.
    ///   - loras: LoRAs for the transformer.
    ///   - addsLoRAsLive: Whether layers add them at every call, so that their strengths can be
    ///     changed; otherwise they are merged into the weights.
    package init(
        _ nameOrPath: String,
        vae: String? = nil,
        configuration path: String? = nil,
        loras files: [GenerationOptions.LoRAFile] = [],
        addsLoRAsLive: Bool = false
    ) throws {
        name = URL(fileURLWithPath: nameOrPath).lastPathComponent
        folder = try ModelFolder(ModelLocation.path(nameOrPath))
        configuration = try folder.configuration(path)
        styles = path == nil ? configuration.styles : try folder.configuration().styles
        try folder.require(ModelFolder.Part.ofEveryModel.filter { vae == nil || $0 != .vae })
        var configs = try folder.configs()
        autoencoder = try AutoencoderChoice(
            vae,
            in: folder,
            latentChannels: configs.transformer.inDim
        )
        configs.autoencoder = autoencoder
        self.configs = configs
        loras = LoRASet(
            try files.map { file throws(SwanError) in
                guard file.expert == nil else {
                    throw SwanError(
                        .invalidRequest,
                        "\(file.path): is for one of two experts, but a streaming model has one "
                            + "transformer; leave out high: or low:"
                    )
                }
                return try LoRA.open(file.path, strength: file.strength)
            },
            live: addsLoRAsLive
        )
        // Keys that do not fit are found before anything is read.
        if !files.isEmpty {
            _ = try loras.applied(to: folder.weights(of: folder.require(.transformer)))
        }
    }

    /// Loads the networks. All keys must match, and all values that are read must be finite.
    ///
    /// - Parameters:
    ///   - dtype: The dtype that weights are converted to.
    ///   - blocks: The blocks of the transformer that are loaded; nil for all.
    package func load(
        _ dtype: DType,
        _ device: Device,
        blocks: Range<Int>? = nil
    ) throws -> StreamModel {
        try requireFit()
        let tokenizer = try folder.tokenizer(for: configs.textEncoder)
        let networks = StreamModel.Networks(
            transformer: try loadTransformer(dtype, device, blocks: blocks),
            vae: try loadAutoencoder(dtype, device),
            textEncoder: try folder.loadVerified(
                of: folder.require(.textEncoder),
                dtype,
                device
            ) { weights throws(SwanError) in try UMT5Encoder(weights, configs.textEncoder) },
            tokenizer: tokenizer
        )
        var model = StreamModel(
            name: name,
            networks,
            configuration: configuration,
            dtype: dtype,
            device: device
        )
        model.styles = styles
        model.loras = loras
        return model
    }

    /// Loads the transformer with some of its blocks; nil for all. Others are not read.
    func loadTransformer(
        _ dtype: DType,
        _ device: Device,
        blocks: Range<Int>? = nil
    ) throws(SwanError) -> CausalWanTransformer {
        try folder.loadVerified(
            of: folder.require(.transformer),
            dtype,
            device,
            loras: loras
        ) { weights throws(SwanError) in
            try CausalWanTransformer(weights, configs.transformer, blocks: blocks)
        }
    }

    /// Loads the autoencoder.
    func loadAutoencoder(
        _ dtype: DType,
        _ device: Device
    ) throws(SwanError) -> any VideoAutoencoder {
        try autoencoder.load(from: folder, dtype, device)
    }

    /// Throws if the parts do not fit together.
    func requireFit() throws(SwanError) {
        try PartsFit(
            transformer: configs.transformer,
            latentChannels: autoencoder.latentChannels,
            temporalStride: autoencoder.temporalStride,
            spatialStride: autoencoder.spatialStride,
            textEncoder: configs.textEncoder,
            streams: true
        ).require(in: folder.path)
    }
}

extension StreamModel {
    /// Loads a model by the name of a bundled one or the path of a folder.
    ///
    /// - Parameters:
    ///   - dtype: The dtype that weights are converted to.
    ///   - vae: `tiny` for the tiny autoencoder in the folder, `tiny-decoder` for its decoder with the
    ///     model's own encoder, or the path of another one; `nil` for the model's own.
    ///   - configuration: The path of a YAML streaming configuration that replaces the model's own.
    ///   - loras: LoRAs for the transformer.
    ///   - addsLoRAsLive: Whether layers add them at every call, so that a stream can change their
    ///     strengths; otherwise they are merged into the weights, which costs nothing at a call.
    public static func load(
        _ nameOrPath: String,
        dtype: DType,
        device: Device,
        vae: String? = nil,
        configuration: String? = nil,
        loras: [GenerationOptions.LoRAFile] = [],
        addsLoRAsLive: Bool = false
    ) throws -> StreamModel {
        try StreamCheckpoint(
            nameOrPath,
            vae: vae,
            configuration: configuration,
            loras: loras,
            addsLoRAsLive: addsLoRAsLive
        ).load(dtype, device)
    }
}
