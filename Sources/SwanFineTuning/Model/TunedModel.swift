import Foundation
package import SwanCheckpoints
import SwanDistillation
package import SwanModels
import SwanPipelines
import SwanSystem
package import Torch
package import TorchNN

/// The model that a fine-tuning starts from: its transformers, and what encodes its data.
package struct TunedModel: Sendable {
    /// A transformer.
    package struct Expert: Sendable {
        /// The name of its trained role.
        package let role: String
        package let part: ModelFolder.Part
        /// The weights in Wan's names, as stored.
        package let source: any WeightSource
        /// The noise levels that it is for.
        package let range: ClosedRange<Double>
    }

    package let folder: ModelFolder
    package let config: WanConfig
    package let task: TuningTask
    /// The transformers to train.
    package let experts: [Expert]
    /// Whether the model has two.
    package let hasExperts: Bool
    /// The frame rate of its videos, and the shift that they are sampled with.
    package let framesPerSecond: Int
    package let shift: Double
    private let autoencoder: AutoencoderChoice

    /// The name of the only transformer's role.
    package static let role = "transformer"

    /// Opens a model; no weights are read.
    package init(_ path: String, _ settings: FineTuningSettings) throws {
        folder = try ModelFolder(ModelLocation.path(path))
        try folder.require(folder.isCausal ? [.transformer] : folder.transformerParts())
        try folder.require([.vae, .textEncoder, .tokenizer])
        let configs = try folder.configs()
        config = configs.transformer
        autoencoder = try AutoencoderChoice(nil, in: folder, latentChannels: config.outDim)
        if folder.isCausal {
            let stream = try folder.configuration()
            task = Self.causal(settings, stream)
            framesPerSecond = Int(stream.fps ?? 16)
            shift = settings.shift ?? stream.shift
            hasExperts = false
            experts = [
                Expert(
                    role: Self.role,
                    part: .transformer,
                    source: try folder.weights(of: folder.require(.transformer)),
                    range: settings.sampling.range
                )
            ]
        } else {
            let variant = try folder.variant(configs)
            task = try TuningTask(variant, path)
            framesPerSecond = variant.defaults.framesPerSecond
            let own = try DiffusersSettings(folder)
            shift = settings.shift ?? own.shift ?? variant.shift(area: 1_280 * 720)
            hasExperts = variant.hasExperts
            experts = try Self.experts(
                folder,
                settings,
                boundary: settings.boundary ?? own.boundary ?? variant.defaults.boundary,
                hasExperts: variant.hasExperts
            )
        }
        if case .imageToVideo(true) = task { return }
        guard config.imagePositions == nil else {
            throw SwanError(.invalidModel, "\(path): has positions for two pictures but takes one")
        }
    }

    /// Blocks of frames, and what of the past they see: a stream never overwrites its first chunk,
    /// nor a part of another.
    private static func causal(
        _ settings: FineTuningSettings,
        _ stream: StreamConfiguration
    ) -> TuningTask {
        let block = settings.framesPerBlock ?? stream.framesPerBlock
        guard let window = settings.window else {
            return .causal(framesPerBlock: block, window: nil, sinks: 0)
        }
        return .causal(
            framesPerBlock: block,
            window: max(1, window / block) * block,
            sinks: max(1, stream.sinkFrames / block) * block
        )
    }

    private static func experts(
        _ folder: ModelFolder,
        _ settings: FineTuningSettings,
        boundary: Double,
        hasExperts: Bool
    ) throws -> [Expert] {
        let limits = settings.sampling.range
        func expert(_ role: String, _ part: ModelFolder.Part, _ side: ClosedRange<Double>) throws
            -> Expert?
        {
            let low = max(side.lowerBound, limits.lowerBound)
            let high = min(side.upperBound, limits.upperBound)
            guard low < high else { return nil }
            let source = try folder.weights(of: folder.require(part))
            return Expert(role: role, part: part, source: source, range: low...high)
        }
        guard hasExperts else {
            guard settings.expert == .both, settings.boundary == nil else {
                throw SwanError(
                    .invalidRecipe,
                    "expert, boundary: the model \(folder.path) has one transformer"
                )
            }
            return [try expert(role, .transformer, 0...1)].compactMap { $0 }
        }
        var found: [Expert?] = []
        if settings.expert != .low {
            found.append(try expert("high_noise", .transformer, boundary...1))
        }
        if settings.expert != .high {
            found.append(try expert("low_noise", .lowNoiseTransformer, 0...boundary))
        }
        let experts = found.compactMap { $0 }
        guard !experts.isEmpty else {
            throw SwanError(
                .invalidRecipe,
                "min_timestep, max_timestep: leave nothing for the expert, whose boundary is "
                    + "timestep \(Int(1_000 * boundary))"
            )
        }
        return experts
    }

    /// The number that width and height of videos must be multiples of.
    package var sizeMultiple: Int {
        config.sizeMultiple(spatialStride: autoencoder.spatialStride)
    }

    // MARK: - Networks

    /// The weights of a transformer below a LoRA, on a device.
    ///
    /// Files stay mapped on a CPU if their dtype is kept. Otherwise the matrices of blocks are
    /// converted once; the rest, whose precision matters more, stays as it is stored.
    package func base(
        _ expert: Expert,
        _ dtype: FineTuningSettings.BaseType,
        _ device: Device
    ) throws -> any WeightSource {
        guard dtype != .stored || device != .cpu else { return expert.source }
        var tensors: [String: Tensor] = [:]
        for key in expert.source.keys {
            guard let shape = try expert.source.shape(key) else { continue }
            let isMatrix = shape.count == 2 && key.hasPrefix("blocks.")
            if isMatrix, dtype == .stored {
                let stored = try expert.source.stored(key, shape)
                let isNarrow = stored.factor != nil || stored.values.dtype.size < 2
                let type = isNarrow ? DType.bfloat16 : stored.values.dtype
                tensors[key] = try stored.weight(type).to(device)
            } else {
                let weight = try expert.source.tensor(key, shape)
                let type: DType = dtype == .bfloat16 && isMatrix ? .bfloat16 : .float32
                tensors[key] = try weight.to(device, type)
            }
        }
        return DictionaryWeights(tensors)
    }

    /// All weights of a transformer in float32, to be trained.
    package func weights(_ expert: Expert) throws -> [String: Tensor] {
        var weights: [String: Tensor] = [:]
        for key in expert.source.keys {
            guard let shape = try expert.source.shape(key) else { continue }
            weights[key] = try expert.source.tensor(key, shape).to(.float32).cloned()
        }
        return weights
    }

    // MARK: - Encoders

    /// Opens what encodes prompts.
    func promptEncoder(_ device: Device) throws -> PromptEncoder {
        let suited = DType.suited(to: device)
        // UMT5's activations exceed the range of float16.
        let dtype = suited == .float16 ? .bfloat16 : suited
        return try PromptEncoder(folder, for: config, dtype, device)
    }

    /// Opens the autoencoder, which computes in float32 as in the original code.
    func videoEncoder(_ device: Device) throws -> any VideoAutoencoder {
        try autoencoder.load(from: folder, .float32, device)
    }

    /// Opens CLIP; nil for a model that does not attend to pictures.
    func imageEncoder(_ device: Device) throws -> CLIPVision? {
        guard config.imageDim != nil else { return nil }
        let files = try folder.require(.imageEncoder)
        let source = try folder.weights(of: files)
        let sizes = try CLIPVisionConfig.read(files, fittedTo: source)
        return try files.network(source, .float32, device, ignoring: sizes.isUnused) {
            weights throws(SwanError) in try CLIPVision(weights, sizes)
        }
    }
}
