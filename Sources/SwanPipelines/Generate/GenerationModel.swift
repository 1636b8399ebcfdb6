import Foundation
public import SwanCheckpoints
import SwanModels
import SwanSystem
import SwanText
public import Torch
import TorchNN

/// A checkpoint that makes videos: what it is, where its parts are, and how they are opened.
///
/// Nothing is loaded before it is needed. What a part is opened for gets it, and lets it go.
public struct GenerationModel: Sendable {
    /// What the model is called in reports.
    public let name: String
    /// What it makes of what.
    public let variant: WanVariant
    /// How its parts are opened.
    public let options: GenerationOptions

    let folder: ModelFolder
    let settings: DiffusersSettings
    let transformerConfig: WanConfig
    let autoencoderChoice: AutoencoderChoice
    /// Pixels on a side of what one latent stands for.
    let spatialStride: Int
    /// Sides of pictures must be multiples of this: patches of latents.
    let sizeMultiple: Int
    let device: Device
    let dtype: DType

    /// Looks into a checkpoint; no weights are read.
    public init(_ path: String, options: GenerationOptions = GenerationOptions()) throws {
        name = URL(fileURLWithPath: path).lastPathComponent
        self.options = options
        device = try Device(named: options.device)
        dtype = options.dtype ?? .suited(to: device)
        folder = try ModelFolder(BundledModels.folder(path) ?? path, choosing: options.files)
        try folder.requireAddressSpace(beside: 0, copies: 1, "try --offload block")
        settings = try DiffusersSettings(folder)
        guard !folder.isCausal else {
            throw SwanError(
                .invalidModel,
                "\(path) is a causal model, which streams: use 'swan stream' with it"
            )
        }
        let own: [ModelFolder.Part] = options.vae == nil ? [.vae] : []
        try folder.require(folder.transformerParts() + own)
        var configs = try folder.configs()
        transformerConfig = configs.transformer
        autoencoderChoice = try AutoencoderChoice(
            options.vae,
            in: folder,
            latentChannels: transformerConfig.outDim
        )
        spatialStride = autoencoderChoice.spatialStride
        configs.autoencoder = autoencoderChoice
        sizeMultiple = configs.sizeMultiple
        variant = try folder.variant(configs)
        try PartsFit(
            transformer: transformerConfig,
            latentChannels: autoencoderChoice.latentChannels,
            temporalStride: autoencoderChoice.temporalStride,
            spatialStride: spatialStride,
            textEncoder: nil,
            streams: false
        ).require(in: path)
        try checkTransformers()
    }

    /// Opens a transformer, LoRAs added.
    func transformer(_ part: ModelFolder.Part) throws -> FlowTransformer {
        let (source, config) = try transformerWeights(part)
        let late = options.offload == .block
        guard variant.task == .controlToVideo else {
            let network = try folder.require(part).network(source, dtype, device, late: late) {
                weights throws(SwanError) in try WanTransformer(weights, config)
            }
            return FlowTransformer(network)
        }
        let network = try folder.require(part).network(source, dtype, device, late: late) {
            weights throws(SwanError) in try WanVACETransformer(weights, config)
        }
        return FlowTransformer(network)
    }

    /// A transformer's weights with LoRAs added, and its sizes. No weights are read.
    private func transformerWeights(
        _ part: ModelFolder.Part
    ) throws -> (source: any WeightSource, config: WanConfig) {
        let files = try folder.require(part)
        let own = try folder.weights(of: files)
        let config =
            part == .transformer ? transformerConfig : try WanConfig.read(files, fittedTo: own)
        let loras = try options.loras.filter { $0.expert == nil || $0.expert == part }
            .map { try LoRA.open($0.path, strength: $0.strength) }
        guard !loras.isEmpty else { return (own, config) }
        // Blocks that are read again and again would be merged again and again.
        let isLive = options.addsLoRAsLive || options.offload == .block
        return (try LoRAWeights(own, loras, live: isLive), config)
    }

    /// Throws where the experts differ in size, or a LoRA fits none; the keys tell.
    private func checkTransformers() throws {
        for lora in options.loras where lora.expert != nil && !variant.hasExperts {
            let noise = lora.expert == .transformer ? "high" : "low"
            throw SwanError(
                .invalidRequest,
                "\(lora.path) is for the expert for \(noise) noise, and the model has one transformer"
            )
        }
        for part in try folder.transformerParts() {
            let (_, config) = try transformerWeights(part)
            guard config.dim == transformerConfig.dim, config.inDim == transformerConfig.inDim,
                config.outDim == transformerConfig.outDim
            else {
                let files = try folder.transformerParts().map { try folder.require($0).data }
                throw SwanError(
                    .invalidModel,
                    "the experts do not fit each other: \(files.joined(separator: ", "))"
                )
            }
        }
    }

    /// Opens the autoencoder, which computes in float32 as its authors' does.
    func autoencoder() throws -> any VideoAutoencoder {
        let own = try autoencoderChoice.load(from: folder, .float32, device)
        return options.tilesVAE ? try TiledAutoencoder(own) : own
    }

    /// Opens CLIP's image encoder.
    func imageEncoder() throws -> CLIPVision {
        let files = try folder.require(.imageEncoder)
        let source = try folder.weights(of: files)
        let config = try CLIPVisionConfig.read(files, fittedTo: source)
        return try files.network(
            source,
            dtype,
            device,
            ignoring: config.isUnused
        ) { weights throws(SwanError) in try CLIPVision(weights, config) }
    }

    /// Opens the text encoder.
    func textEncoder() throws -> UMT5Encoder {
        let files = try folder.require(.textEncoder)
        let source = try folder.weights(of: files)
        let config = try UMT5Config.read(files, fittedTo: source)
        guard config.dim == transformerConfig.textDim else {
            throw SwanError(
                .invalidModel,
                "\(files.data): the text encoder's width is \(config.dim), the transformer takes "
                    + "\(transformerConfig.textDim)"
            )
        }
        let place = options.textEncoderOnCPU ? .cpu : device
        let asked = options.textEncoderOnCPU ? options.dtype ?? .suited(to: .cpu) : dtype
        // UMT5's numbers leave the range of float16.
        let type = asked != .float16 ? asked : place == .cpu ? .suited(to: .cpu) : .bfloat16
        return try files.network(source, type, place) { weights throws(SwanError) in
            try UMT5Encoder(weights, config)
        }
    }

    /// Opens the tokenizer.
    func tokenizer(for encoder: UMT5Config) throws -> Tokenizer {
        // One with byte pieces spells rare text out; the published one marks it unknown.
        let isPublished = encoder.vocabulary == UMT5Config.xxl.vocabulary
        let tokenizer = try Tokenizer(
            at: folder.require(.tokenizer).data,
            rareText: isPublished ? .unknownMark : .bytes
        )
        try tokenizer.requireVocabulary(within: encoder.vocabulary)
        return tokenizer
    }
}

/// How the parts of a checkpoint are opened.
public struct GenerationOptions: Sendable {
    /// Files to take for parts, whatever else lies in the folder.
    public var files: [ModelFolder.Part: String] = [:]
    /// Where the model runs: `auto`, `cpu`, `cuda` or `cuda:1`.
    public var device = "auto"
    /// What is computed in; nil for what suits the device.
    public var dtype: DType?
    /// What leaves the device's memory while it is not needed.
    public var offload = Offload.model
    /// The autoencoder: `tiny` for the tiny one in the model's folder, or a path; nil for its own.
    public var vae: String?
    /// LoRAs that are added to the transformer.
    public var loras: [LoRAFile] = []
    /// Whether LoRAs stay apart and are added by the layers, instead of into a copy of the weights.
    public var addsLoRAsLive = false
    /// Whether the text encoder stays on the CPU, in float32 or bfloat16 as that is faster there.
    public var textEncoderOnCPU = false
    /// Whether pictures go through the autoencoder in overlapping tiles: less memory.
    public var tilesVAE = false

    /// The usual way.
    public init() {}

    /// A file of changes to a transformer's weights.
    public struct LoRAFile: Sendable, Equatable {
        /// The file.
        public var path: String
        /// How much of the changes is made.
        public var strength: Double
        /// Of two experts, the one that is changed; nil for both.
        public var expert: ModelFolder.Part?

        /// A file, for both experts.
        public init(_ path: String, strength: Double = 1, expert: ModelFolder.Part? = nil) {
            self.path = path
            self.strength = strength
            self.expert = expert
        }
    }

    /// What leaves memory while it is not needed.
    public enum Offload: String, Sendable, CaseIterable {
        /// Nothing: every part stays once it is loaded.
        case none
        /// Parts: each is there while it works.
        case model
        /// Blocks of the transformer too: each is read while the one before it works.
        case block
    }
}
