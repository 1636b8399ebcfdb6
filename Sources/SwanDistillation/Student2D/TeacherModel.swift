import SwanCheckpoints
import SwanModels
import SwanSystem
import TorchNN

/// The folder of a teacher for pictures, and how its authors run it. No weights are read.
struct TeacherModel: Sendable {
    let folder: ModelFolder
    let config: WanConfig
    /// The transformers: one, or the experts for high and for low noise.
    let parts: [ModelFolder.Part]
    let autoencoder: AutoencoderChoice
    /// The timestep from which the expert for high noise is used; 0 without experts.
    let boundary: Double
    let steps: Int
    let shift: Double
    let guidance: (low: Double, high: Double)
    let negativePrompt: String

    /// Finds the parts of a text-to-video model, in any layout.
    ///
    /// - Throws: `invalidModel` for other models, and for folders that are not complete.
    init(_ path: String) throws {
        folder = try ModelFolder(ModelLocation.path(path))
        guard !folder.isCausal else {
            throw SwanError(
                .invalidModel,
                "\(path): is a causal model for streaming; a student for pictures learns from a "
                    + "text-to-video model"
            )
        }
        parts = try folder.transformerParts()
        try folder.require(parts + [.vae, .textEncoder, .tokenizer])
        let configs = try folder.configs()
        let variant = try folder.variant(configs)
        config = configs.transformer
        guard [.textToVideo, .textOrImageToVideo].contains(variant.task) else {
            throw SwanError(
                .invalidModel,
                "\(path): is \(variant.task.named) model; a student for pictures learns from a "
                    + "text-to-video model"
            )
        }
        autoencoder = try AutoencoderChoice(nil, in: folder, latentChannels: config.inDim)
        let (settings, defaults) = (try DiffusersSettings(folder), variant.defaults)
        boundary = variant.hasExperts ? 1_000 * (settings.boundary ?? defaults.boundary) : 0
        steps = defaults.steps
        shift = settings.shift ?? variant.shift(area: defaults.area)
        guidance = defaults.guidance
        negativePrompt = defaults.negativePrompt
        try checkExperts()
    }

    private func checkExperts() throws {
        for part in parts.dropFirst() {
            let files = try folder.require(part)
            let other = try WanConfig.read(files, fittedTo: folder.weights(of: files))
            guard other == config else {
                throw SwanError(
                    .invalidModel,
                    "the experts differ in size: \(try folder.require(.transformer).data), "
                        + files.data
                )
            }
        }
    }

    /// The transformer for a timestep.
    func part(at timestep: Double) -> ModelFolder.Part {
        parts.count == 1 || timestep >= boundary ? .transformer : .lowNoiseTransformer
    }

    /// The transformer that the reference uses at all timesteps: the expert for low noise, or in
    /// folders of diffusers the one for high noise, which it takes for the other.
    var publishedPart: ModelFolder.Part {
        let isOriginal =
            folder.parts[.lowNoiseTransformer]?.data.contains("low_noise_model/") ?? false
        return isOriginal ? .lowNoiseTransformer : .transformer
    }

    /// A transformer's weights in Wan's names, unread.
    func weights(of part: ModelFolder.Part) throws -> any WeightSource {
        try folder.weights(of: folder.require(part))
    }

    /// The files whose content a cache of embeddings depends on.
    func textDigest() throws -> String {
        try [ModelFolder.Part.textEncoder, .tokenizer].map { part in
            try ModelDigest.text(of: folder.require(part).data)
        }.joined(separator: " ")
    }

    /// The files whose content the teacher's pictures depend on.
    func flowDigest() throws -> String {
        try parts.map { try ModelDigest.text(of: folder.require($0).data) }
            .joined(separator: " ")
    }
}
