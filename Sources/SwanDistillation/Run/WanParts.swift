package import SwanCheckpoints
package import SwanModels
import SwanSchedulers
import SwanSystem
import SwanText
package import Torch
import TorchNN

/// The parts of a Wan checkpoint that a distillation uses.
struct WanParts {
    let folder: ModelFolder
    let config: WanConfig
    private let source: any WeightSource

    /// Finds the transformer of a model's folder, or of another file with a transformer.
    init(_ path: String, transformer: String? = nil) throws {
        let chosen = transformer.map { [ModelFolder.Part.transformer: $0] } ?? [:]
        folder = try ModelFolder(path, choosing: chosen)
        let files = try folder.require(.transformer)
        source = try folder.weights(of: files)
        config = try WanConfig.read(files, fittedTo: source)
        guard config.imageDim == nil, config.vaceLayers == nil, config.inDim == config.outDim else {
            throw SwanError(
                .invalidModel,
                "\(files.data): is a model for images or controls; distillation needs a "
                    + "text-to-video model"
            )
        }
    }

    /// The transformer's weights in float32, to be trained.
    func weights() throws -> [String: Tensor] {
        var weights: [String: Tensor] = [:]
        for key in source.keys {
            guard let shape = try source.shape(key) else { continue }
            weights[key] = try source.tensor(key, shape).to(.float32).cloned()
        }
        return weights
    }

    /// The transformer as a network that does not change.
    func frozen(
        _ form: NetworkForm,
        _ flow: FlowMatch,
        _ dtype: DType,
        _ device: Device
    ) throws(SwanError) -> CleanPredictor {
        try folder.require(.transformer).network(source, dtype, device, keepsStorage: false) {
            weights throws(SwanError) in try CleanPredictor(weights, form, flow)
        }
    }

    /// Opens what encodes prompts.
    func textEncoder(_ dtype: DType, _ device: Device) throws -> PromptEncoder {
        try PromptEncoder(folder, for: config, dtype, device)
    }

    /// Opens the autoencoder; nil if the folder has none.
    func autoencoder(_ device: Device) throws -> (any VideoAutoencoder)? {
        guard folder.parts[.vae] != nil else { return nil }
        return try AutoencoderChoice(nil, in: folder, latentChannels: config.inDim)
            .load(from: folder, .float32, device)
    }
}

/// Encodes prompts as the embeddings that transformers see.
package struct PromptEncoder: Sendable {
    let encoder: UMT5Encoder
    let tokenizer: Tokenizer
    /// The maximum number of tokens.
    let limit: Int

    /// Opens the encoder of a transformer of `config`, which is in `folder`.
    package init(
        _ folder: ModelFolder,
        for config: WanConfig,
        _ dtype: DType,
        _ device: Device
    ) throws {
        let (files, source, own) = try folder.textEncoder(for: config)
        encoder = try files.network(source, dtype, device) { weights throws(SwanError) in
            try UMT5Encoder(weights, own)
        }
        tokenizer = try folder.tokenizer(for: own)
        limit = config.textLen
    }

    /// Encodes prompts to [B, T, textDim] in float32, with zeros after each prompt.
    package func callAsFunction(_ prompts: [String]) throws -> Tensor {
        let tokens = try prompts.map {
            try tokenizer.encode($0, maxTokens: limit, allowsEmpty: true).tokens
        }
        return try withoutGradients { try encoder.encode(tokens).to(.float32) }
    }
}
