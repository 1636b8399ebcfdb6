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
    private var loras: LoRASet
    /// Messages about keys of LoRAs that have no place in the model and are left out.
    private(set) var loraNotes: [String] = []

    /// Opens a model by the name of a bundled one or the path of a folder.
    ///
    /// - Parameters:
    ///   - vae: `tiny` for the tiny autoencoder in the folder, `tiny-decoder` for its decoder with the
    ///     model's own encoder, or the path of another one; `nil` for the model's own.
    ///   - configuration: The path of a YAML streaming configuration that replaces the model's own.
    ///   - loras: LoRAs for the transformer.
    ///   - addsLoRAsLive: Whether layers add them at every call, so that their strengths can be
    ///     changed; otherwise they are merged into the weights.
    ///   - requiresWholeLoRAs: Whether a LoRA with keys that have no place in the model is an error;
    ///     otherwise they are left out, and `loraNotes` say so.
    package init(
        _ nameOrPath: String,
        vae: String? = nil,
        configuration path: String? = nil,
        loras files: [GenerationOptions.LoRAFile] = [],
        addsLoRAsLive: Bool = false,
        requiresWholeLoRAs: Bool = false
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
        loras = try Self.open(files, live: addsLoRAsLive, isStrict: requiresWholeLoRAs)
        loraNotes = try checkedLoRAs()
    }

    /// This checkpoint with other LoRAs, which are merged.
    func with(
        _ files: [GenerationOptions.LoRAFile],
        isStrict: Bool
    ) throws -> StreamCheckpoint {
        var other = self
        other.loras = try Self.open(files, live: false, isStrict: isStrict)
        other.loraNotes = try other.checkedLoRAs()
        return other
    }

    /// Throws for LoRAs that do not fit, before anything is read.
    ///
    /// - Returns: Messages about what is left out.
    private func checkedLoRAs() throws -> [String] {
        guard !loras.loras.isEmpty else { return [] }
        let own = try folder.weights(of: folder.require(.transformer))
        return (try loras.applied(to: own) as? LoRAWeights)?.notes ?? []
    }

    private static func open(
        _ files: [GenerationOptions.LoRAFile],
        live: Bool,
        isStrict: Bool
    ) throws(SwanError) -> LoRASet {
        let loras = try files.map { file throws(SwanError) in
            guard file.expert == nil else {
                throw SwanError(
                    .invalidRequest,
                    "\(file.path): is for one of two experts, but a streaming model has one "
                        + "transformer; leave out high: or low:"
                )
            }
            return try LoRA.open(file.path, strength: file.strength).forOneTransformer()
        }
        return LoRASet(loras, live: live, isStrict: isStrict)
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
        model.source = self
        model.loras = loras
        model.loraNotes = loraNotes
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
    ///   - requiresWholeLoRAs: Whether a LoRA with keys that have no place in the model is an error;
    ///     otherwise they are left out, and `loraNotes` say so.
    public static func load(
        _ nameOrPath: String,
        dtype: DType,
        device: Device,
        vae: String? = nil,
        configuration: String? = nil,
        loras: [GenerationOptions.LoRAFile] = [],
        addsLoRAsLive: Bool = false,
        requiresWholeLoRAs: Bool = false
    ) throws -> StreamModel {
        try StreamCheckpoint(
            nameOrPath,
            vae: vae,
            configuration: configuration,
            loras: loras,
            addsLoRAsLive: addsLoRAsLive,
            requiresWholeLoRAs: requiresWholeLoRAs
        ).load(dtype, device)
    }
}
