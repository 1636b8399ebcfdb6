import SwanCheckpoints
import SwanMedia
public import SwanSchedulers
import SwanSystem
import Torch
import SwanModels

/// A request with everything decided that it left open.
public struct GenerationPlan: Sendable {
    /// The prompt, and what the video should not look like unless guidance is off.
    public let prompts: [String]
    /// In pixels.
    public let width: Int
    /// In pixels.
    public let height: Int
    /// Frames of the video.
    public let frames: Int
    /// Frames a second that the model was trained for.
    public let framesPerSecond: Int
    /// Steps of the solver.
    public let steps: Int
    /// How far noise levels are shifted.
    public let shift: Double
    /// What follows the flow, unless timesteps are given.
    public let solver: GenerationRequest.Solver
    /// Whose noise levels are used.
    public let schedule: GenerationRequest.Schedule
    /// Guidance below and above the boundary; the second is the only one without experts.
    public let lowNoiseGuidance, highNoiseGuidance: Double
    /// From this timestep (of 1000) on the expert for high noise works; 0 without experts.
    public let boundaryTimestep: Double
    /// [1, C, F, h, w], latent frames of reference pictures first.
    let latentShape: [Int]
    /// Reference pictures of a VACE model, each a latent frame that is not decoded.
    let references: Int
    /// Whether given pictures are scaled to cover the size and cut, or resized to it.
    private let coversSize: Bool

    /// Decides what the request left open; throws where it does not fit the model.
    init(_ request: GenerationRequest, _ model: GenerationModel) throws {
        try request.check()
        let (variant, defaults) = (model.variant, model.variant.defaults)
        try Self.check(request, variant)
        if request.promptEmbeddings == nil { try model.folder.require([.textEncoder, .tokenizer]) }
        if variant.seesImages, request.imageEmbeddings == nil {
            try model.folder.require([.imageEncoder])
        }
        let size = try Self.size(request, model)
        (width, height) = (size.width, size.height)
        coversSize = request.size != nil || variant.task == .textOrImageToVideo
        // A control video says how long the video is, as far as its authors go.
        let shown = request.control.map(\.video.count) ?? 0
        let stride = model.autoencoderChoice.temporalStride
        let followed = shown > 0 ? (shown - 1) / stride * stride + 1 : defaults.frames
        frames = request.frames ?? min(followed, defaults.frames)
        framesPerSecond = defaults.framesPerSecond
        steps = request.timesteps?.count ?? request.steps ?? defaults.steps
        shift =
            request.shift ?? model.settings.shift ?? variant.shift(area: width * height)
        solver = request.solver ?? model.settings.solver ?? .unipc
        schedule = request.schedule ?? (model.settings.isPipeline ? .diffusers : .wan)
        lowNoiseGuidance = request.lowNoiseGuidance ?? request.guidance ?? defaults.guidance.low
        highNoiseGuidance = request.highNoiseGuidance ?? request.guidance ?? defaults.guidance.high
        let boundary = request.boundary ?? model.settings.boundary ?? defaults.boundary
        boundaryTimestep = variant.hasExperts ? boundary * 1_000 : 0
        let guides = highNoiseGuidance != 1 || variant.hasExperts && lowNoiseGuidance != 1
        let negative = guides ? [request.negativePrompt ?? defaults.negativePrompt] : []
        prompts = [request.prompt] + negative
        references = request.control?.references.count ?? 0
        latentShape = [
            1, model.transformerConfig.outDim, references + (frames - 1) / stride + 1,
            height / model.spatialStride, width / model.spatialStride,
        ]
        try check(request, model)
        if model.device == .cpu, let free = ProcessFacts.availableMemoryBytes {
            let batches = request.batchesGuidance ?? isSmall
            try GenerationMemory(model, isGuided: guides, batches: batches)
                .require(width: width, height: height, latentFrames: latentShape[2], free: free)
        }
    }

    /// Throws for what would otherwise be met after minutes: a table of noise levels that cannot be, and
    /// tensors of other shapes than are needed.
    private func check(_ request: GenerationRequest, _ model: GenerationModel) throws {
        do {
            let noise = try Generator(seed: 0)
            _ = try request.makeSolver(
                solver,
                steps: steps,
                shift: shift,
                schedule: schedule,
                noise: noise
            )
        } catch let error as SwanError where error.code == .invalidOption {
            throw SwanError(.invalidRequest, error.description)
        }
        let config = model.transformerConfig
        func require(
            _ tensor: Tensor?,
            _ what: String,
            _ expected: String,
            _ fits: ([Int]) -> Bool
        ) throws(SwanError) {
            guard let shape = tensor?.shape, !fits(shape) else { return }
            throw SwanError(.invalidRequest, "\(what) \(shape): \(expected) is needed")
        }
        try require(request.initialLatents, "initial latents", "\(latentShape)") {
            $0 == latentShape
        }
        for tensor in [request.promptEmbeddings, request.negativeEmbeddings] {
            try require(
                tensor,
                "text embeddings",
                "[1, up to \(config.textLen), \(config.textDim)]"
            ) { $0.count == 3 && $0[0] == 1 && $0[1] <= config.textLen && $0[2] == config.textDim }
        }
        try require(
            request.imageEmbeddings,
            "image embeddings",
            "[1, tokens, \(config.imageDim ?? 0)]"
        ) { $0.count == 3 && $0[0] == 1 && $0[2] == config.imageDim }
        guard request.lastImage == nil || frames > 4 else {
            throw SwanError(
                .invalidRequest,
                "\(frames) frame for a first and a last picture: at least 5 are needed"
            )
        }
    }

    /// Whether the tokens are so few that reading weights takes longer than computing with them.
    var isSmall: Bool { latentShape[2...].reduce(1, *) < 4 * 2_048 }

    /// The expert that works at a timestep.
    func expert(at timestep: Float) -> ModelFolder.Part {
        Double(timestep) >= boundaryTimestep ? .transformer : .lowNoiseTransformer
    }

    /// How strongly an expert is guided.
    func guidance(of expert: ModelFolder.Part) -> Double {
        expert == .lowNoiseTransformer ? lowNoiseGuidance : highNoiseGuidance
    }

    /// A given picture as the first or last frame [1, 3, 1, height, width].
    ///
    /// It is scaled to cover the video's size and cut at its middle where a size was asked for, and
    /// for TI2V; of image-to-video's own sizes, which keep the ratio, it takes the nearest.
    func frame(_ picture: VideoFrame, _ device: Device) throws -> Tensor {
        guard !coversSize else { return try covering(picture, device) }
        return try ImageCondition.picture(picture, on: device)
            .resizedBicubic(height: height, width: width).unsqueezed(2)
    }

    /// A last picture, cut to the first one's ratio where it has another.
    func frame(_ picture: VideoFrame, like first: VideoFrame, _ device: Device) throws -> Tensor {
        let isAlike = picture.width * first.height == picture.height * first.width
        guard !coversSize, !isAlike else { return try frame(picture, device) }
        return try frame(picture.covering(width: first.width, height: first.height), device)
    }

    /// The frames of a control video as one [1, 3, T, height, width]; grey where there are none.
    func video(_ pictures: [VideoFrame], _ device: Device) throws -> Tensor {
        var parts = try pictures.prefix(frames).map { try covering($0, device) }
        if parts.count < frames {
            let shape = [1, 3, frames - parts.count, height, width]
            parts.append(try .zeros(shape, .float32, device))
        }
        return try concatenated(parts, dim: 2)
    }

    /// Masks [1, 1, T, height, width], 1 where they are white; what comes after the last is white.
    func masks(_ pictures: [VideoFrame], _ device: Device) throws -> Tensor {
        var parts = try pictures.prefix(frames).map { picture in
            try (covering(picture, device).narrowed(1, 0, 1) + 1) * 0.5
        }
        if parts.count < frames {
            let shape = [1, 1, frames - parts.count, height, width]
            parts.append(try .ones(shape, .float32, device))
        }
        return try concatenated(parts, dim: 2)
    }

    private func covering(_ picture: VideoFrame, _ device: Device) throws -> Tensor {
        let cut: VideoFrame
        do {
            cut = try picture.covering(width: width, height: height)
        } catch {
            throw SwanError(
                .invalidRequest,
                "a picture of \(picture.width)x\(picture.height) cannot cover \(width)x\(height): "
                    + error.message
            )
        }
        return try ImageCondition.picture(cut, on: device).unsqueezed(2)
    }

    /// The embeddings that are given instead of the texts; nil if none are.
    func givenEmbeddings(_ request: GenerationRequest) throws(SwanError) -> [Tensor]? {
        guard let prompt = request.promptEmbeddings else { return nil }
        guard prompts.count > 1 else { return [prompt] }
        guard let negative = request.negativeEmbeddings else {
            throw SwanError(
                .invalidRequest,
                "embeddings of the prompt are given, of the negative prompt not: guidance needs both"
            )
        }
        return [prompt, negative]
    }

    // MARK: - What fits

    /// Throws for pictures that are missing, or that the model has no use for.
    private static func check(
        _ request: GenerationRequest,
        _ variant: WanVariant
    ) throws(SwanError) {
        func refuse(_ message: String) -> SwanError { SwanError(.invalidRequest, message) }
        let task = "this is \(variant.task.named) model"
        if variant.needsImage, request.image == nil {
            throw refuse("\(task): give it a picture to begin with (--image)")
        }
        if request.image != nil, !variant.takesImage {
            throw refuse(
                variant.task == .controlToVideo
                    ? "\(task): give pictures by --reference"
                    : "\(task), it has no use for a picture: take an image-to-video model"
            )
        }
        if request.lastImage != nil, !variant.needsImage {
            throw refuse("\(task), it has no use for a last picture: take a FLF2V or I2V model")
        }
        if variant.task == .firstLastFrameToVideo, request.lastImage == nil {
            throw refuse("\(task): give it a last picture, too (--last-image)")
        }
        if request.lastImage != nil, variant.task == .imageToVideo, variant.seesImages {
            throw refuse("\(task), which takes a first picture only: take a FLF2V model")
        }
        if request.control != nil, variant.task != .controlToVideo {
            throw refuse("\(task), it has no use for a control video: take a VACE model")
        }
        if !variant.hasExperts,
            request.lowNoiseGuidance != nil || request.highNoiseGuidance != nil
                || request.boundary != nil
        {
            throw refuse(
                "the model has one transformer: a guidance for low or high noise, or a boundary, is "
                    + "for models with two (give --guidance)"
            )
        }
    }

    private static func size(
        _ request: GenerationRequest,
        _ model: GenerationModel
    ) throws -> GenerationRequest.PictureSize {
        if let size = request.size {
            try FrameSize.check(
                height: size.height,
                width: size.width,
                multiple: model.sizeMultiple
            )
            return size
        }
        let defaults = model.variant.defaults
        let example = request.image ?? request.control?.video.first
        guard let picture = example else {
            guard request.area == nil else {
                throw SwanError(
                    .invalidRequest,
                    "an area takes its ratio from a picture, and there is none: give a size"
                )
            }
            return GenerationRequest.PictureSize(width: defaults.width, height: defaults.height)
        }
        let patch = model.sizeMultiple
        let rule = try SizeFromImage(
            width: picture.width,
            height: picture.height,
            area: request.area ?? defaults.width * defaults.height,
            multiple: (patch, patch)
        )
        let covers = model.variant.task == .textOrImageToVideo
        let size = try covers ? rule.nearestRatio() : rule.cutSides()
        return GenerationRequest.PictureSize(width: size.width, height: size.height)
    }
}
