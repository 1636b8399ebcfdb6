import Foundation
public import SwanCheckpoints
import SwanDistributed
import SwanModels
import SwanSystem
public import Torch
import TorchNN

/// A checkpoint that generates videos: its kind, its parts, and how they are opened.
///
/// Nothing is loaded before it is needed; the caller that opens a part owns and releases it.
public struct GenerationModel: Sendable {
    /// The model's name in reports.
    public let name: String
    /// The kind of model, such as its task.
    public let variant: WanVariant
    /// How the parts are opened.
    public let options: GenerationOptions

    /// How a causal model makes videos chunk by chunk; nil for one that sees all frames.
    package let stream: StreamConfiguration?
    let folder: ModelFolder
    let settings: DiffusersSettings
    let transformerConfig: WanConfig
    let autoencoderChoice: AutoencoderChoice
    /// The width and height in pixels of the area that one latent represents.
    let spatialStride: Int
    /// The number of pixels that the width and height of frames must be multiples of.
    let sizeMultiple: Int
    let device: Device
    let dtype: DType
    /// The opened LoRAs and the expert that each is for; `nil` for all transformers.
    private let loras: [(lora: LoRA, expert: ModelFolder.Part?)]
    /// Messages about keys of LoRAs that have no place in the model and are left out.
    public private(set) var loraNotes: [String] = []

    /// Inspects a checkpoint; no weights are read.
    public init(_ path: String, options: GenerationOptions = GenerationOptions()) throws {
        name = URL(fileURLWithPath: path).lastPathComponent
        self.options = options
        device = try Device(named: options.device)
        folder = try ModelFolder(ModelLocation.path(path), choosing: options.files)
        try folder.requireAddressSpace(inAdditionToFiles: 0, copies: 1, "try --offload block")
        settings = try DiffusersSettings(folder)
        stream = folder.isCausal ? try folder.configuration() : nil
        if let stream { try Self.requireGenerating(stream, path) }
        let suited = stream?.computeType(on: device) ?? .suited(to: device)
        dtype = options.dtype ?? suited
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
            streams: stream != nil
        ).require(in: path)
        let hasExperts = variant.hasExperts
        loras = try options.loras.flatMap { $0.parts(hasExperts: hasExperts) }.map {
            (try LoRA.open($0.path, strength: $0.strength), $0.expert)
        }
        loraNotes = try checkedTransformers()
    }

    /// Opens a transformer with LoRAs applied.
    ///
    /// - Parameter shards: The ranks that each keep a part of its blocks; nil for all of them here.
    func transformer(
        _ part: ModelFolder.Part,
        sharing shards: ProcessGroup? = nil
    ) throws -> FlowTransformer {
        let (own, config) = try transformerWeights(part)
        let files = try folder.require(part)
        let source = try files.shared(own, shards, dtype, device)
        let late = shards != nil || options.offload == .block
        guard variant.task == .controlToVideo else {
            let network = try files.network(source, dtype, device, late: late) {
                weights throws(SwanError) in try WanTransformer(weights, config)
            }
            return FlowTransformer(network)
        }
        let network = try files.network(source, dtype, device, late: late) {
            weights throws(SwanError) in try WanVACETransformer(weights, config)
        }
        return FlowTransformer(network)
    }

    /// Returns a transformer's weights with LoRAs applied, unread, and its configuration.
    func transformerWeights(
        _ part: ModelFolder.Part
    ) throws -> (source: any WeightSource, config: WanConfig) {
        let files = try folder.require(part)
        let own = try folder.weights(of: files)
        let config =
            part == .transformer ? transformerConfig : try WanConfig.read(files, fittedTo: own)
        let loras = try loras.filter { $0.expert == nil || $0.expert == part }.compactMap {
            try variant.hasExperts
                ? $0.lora.part(forLowNoise: part == .lowNoiseTransformer)
                : $0.lora.forOneTransformer()
        }
        guard !loras.isEmpty else { return (own, config) }
        // Merging would be repeated every time an offloaded block is read.
        let isLive = options.addsLoRAsLive || options.offload == .block
        let isStrict = options.requiresWholeLoRAs
        return (try LoRAWeights(own, loras, live: isLive, isStrict: isStrict), config)
    }

    /// Throws if the experts differ in size or a LoRA does not match, judging by the keys.
    ///
    /// - Returns: Messages about what LoRAs have no place for.
    private func checkedTransformers() throws -> [String] {
        var notes = variant.hasExperts ? options.loras.compactMap(\.nameNote) : []
        for lora in options.loras where lora.expert != nil && !variant.hasExperts {
            let noise = lora.expert == .transformer ? "high" : "low"
            throw SwanError(
                .invalidRequest,
                "\(lora.path): is for the \(noise)-noise expert, but the model has one transformer"
            )
        }
        for part in try folder.transformerParts() {
            let (source, config) = try transformerWeights(part)
            let own = (source as? LoRAWeights)?.notes ?? []
            notes += own.filter { !notes.contains($0) }
            guard config.dim == transformerConfig.dim, config.inDim == transformerConfig.inDim,
                config.outDim == transformerConfig.outDim
            else {
                let files = try folder.transformerParts().map { try folder.require($0).data }
                throw SwanError(
                    .invalidModel,
                    "the experts differ in size: \(files.joined(separator: ", "))"
                )
            }
        }
        return notes
    }

    /// Opens the autoencoder, which computes in float32 as in the original code.
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
    ///
    /// - Parameter shards: The ranks that each keep a part of its blocks; nil for all of them here.
    func textEncoder(sharing shards: ProcessGroup? = nil) throws -> UMT5Encoder {
        let (files, source, config) = try folder.textEncoder(for: transformerConfig)
        let encoderDevice = device(of: .textEncoder)
        let asked = options.textEncoderOnCPU ? options.dtype ?? .suited(to: .cpu) : dtype
        // UMT5's activations exceed the range of float16.
        let type = asked != .float16 ? asked : encoderDevice == .cpu ? .suited(to: .cpu) : .bfloat16
        return try files.network(
            files.shared(source, shards, type, encoderDevice),
            type,
            encoderDevice,
            late: shards != nil
        ) { weights throws(SwanError) in try UMT5Encoder(weights, config) }
    }
}

extension ModelFolder.Files {
    /// Weights of these files, with blocks in parts on several ranks if there are any.
    fileprivate func shared(
        _ source: any WeightSource,
        _ shards: ProcessGroup?,
        _ dtype: DType,
        _ device: Device
    ) throws(SwanError) -> any WeightSource {
        guard let shards else { return source }
        do {
            return try ShardedLayers(of: source, shards, as: dtype, on: device)
        } catch {
            throw error.about(data)
        }
    }
}

/// How the parts of a checkpoint are opened.
public struct GenerationOptions: Sendable {
    /// The files to use for parts instead of those found in the folder.
    public var files: [ModelFolder.Part: String] = [:]
    /// The device the model runs on: `auto`, `cpu`, `cuda` or `cuda:1`.
    public var device = "auto"
    /// The dtype of the computation; `nil` for the best one for the device.
    public var dtype: DType?
    /// What is removed from the device's memory while it is not needed.
    public var offload = Offload.model
    /// The autoencoder: `tiny` for the tiny autoencoder in the model's folder, or a path; `nil` for
    /// the model's own.
    public var vae: String?
    /// The LoRAs to apply to the transformer.
    public var loras: [LoRAFile] = []
    /// Whether layers apply LoRAs at run time, instead of merging them into a copy of the weights.
    public var addsLoRAsLive = false
    /// Whether a LoRA with keys that have no place in the model is an error; otherwise they are left
    /// out, and `GenerationModel.loraNotes` say so.
    public var requiresWholeLoRAs = false
    /// Whether the text encoder runs on the CPU, in float32 or bfloat16, whichever is faster there.
    public var textEncoderOnCPU = false
    /// Whether the autoencoder processes frames in overlapping tiles to save memory.
    public var tilesVAE = false

    /// Creates default options.
    public init() {}

    /// A LoRA file: changes to a transformer's weights.
    public struct LoRAFile: Sendable, Equatable {
        /// The path of the file.
        public var path: String
        /// The factor by which the changes are scaled.
        public var strength: Double
        /// The expert to change if the model has two; `nil` for both.
        public var expert: ModelFolder.Part?

        /// Creates a reference to a file, by default for both experts.
        public init(_ path: String, strength: Double = 1, expert: ModelFolder.Part? = nil) {
            self.path = path
            self.strength = strength
            self.expert = expert
        }
    }

    /// What is removed from memory while it is not needed.
    public enum Offload: String, Sendable, CaseIterable {
        /// Nothing: parts stay in memory once loaded.
        case none
        /// Parts: each is in memory only while it is in use.
        case model
        /// Transformer blocks too: each is read while the previous one runs.
        case block
    }
}
