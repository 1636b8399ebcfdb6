import SwanCheckpoints
import SwanMedia
public import SwanSchedulers
import SwanSystem
import Torch
import SwanModels

/// A resolved request, with defaults filled in.
public struct GenerationPlan: Sendable {
    /// The prompt, followed by the negative prompt unless guidance is off.
    public let prompts: [String]
    /// The width in pixels.
    public let width: Int
    /// The height in pixels.
    public let height: Int
    /// The number of frames.
    public let frames: Int
    /// The frame rate the model was trained with.
    public let framesPerSecond: Int
    /// The number of solver steps.
    public let steps: Int
    /// The shift of the noise levels.
    public let shift: Double
    /// The solver, unless timesteps are specified.
    public let solver: FlowSolverKind
    /// How the solver deviates from its usual form.
    let solverSettings: FlowSolverSettings
    /// The code base whose noise levels are used.
    public let schedule: FlowScheduleKind
    /// The guidance scale below and above the boundary; models without experts use only the second.
    public let lowNoiseGuidance, highNoiseGuidance: Double
    /// The lowest timestep (of 1000) that uses the high-noise expert; 0 without experts.
    public let boundaryTimestep: Double
    /// What the user should know about the request, each worth a warning.
    let issues: [String]
    /// The shape of the latents [1, C, F, h, w], with the latent frames of reference images first.
    let latentShape: [Int]
    /// The number of a VACE model's reference images, each a latent frame that is not decoded.
    let references: Int
    /// Whether images are scaled to cover the size and cropped, rather than resized to it.
    private let coversSize: Bool

    /// Resolves a request; throws if it does not fit the model.
    package init(
        _ request: GenerationRequest,
        _ model: GenerationModel,
        _ ranks: GenerationRanks? = nil
    ) throws {
        try request.check()
        let (variant, defaults) = (model.variant, model.variant.defaults)
        try Self.check(request, variant)
        try Self.checkCausal(request, model, ranks)
        if request.promptEmbeddings == nil { try model.folder.require([.textEncoder, .tokenizer]) }
        if variant.seesImages, request.imageEmbeddings == nil {
            try model.folder.require([.imageEncoder])
        }
        let size = try Self.size(request, model)
        (width, height) = (size.width, size.height)
        coversSize = request.settings.size != nil || variant.task == .textOrImageToVideo
        // A control video determines the length, up to the authors' default.
        let shown = request.control?.followed.count ?? 0
        let stride = model.autoencoderChoice.temporalStride
        let followed = shown > 0 ? (shown - 1) / stride * stride + 1 : defaults.frames
        frames = request.settings.frames ?? min(followed, defaults.frames)
        framesPerSecond = defaults.framesPerSecond
        steps =
            request.settings.timesteps?.count ?? request.settings.steps
            ?? model.stream?.steps.count ?? defaults.steps
        shift =
            request.settings.shift ?? model.stream?.shift ?? model.settings.shift
            ?? variant.shift(area: width * height)
        let scheduler = try Self.scheduler(request, model)
        solver = request.settings.solver ?? scheduler?.solver ?? .unipc
        solverSettings = model.settings.settings(for: solver)
        schedule =
            request.settings.schedule ?? scheduler?.schedule
            ?? (model.settings.isPipeline ? .diffusers : .wan)
        // A causal model was distilled from guided steps.
        let guidance = model.stream == nil ? defaults.guidance : (low: 1, high: 1)
        lowNoiseGuidance =
            request.settings.lowNoiseGuidance ?? request.settings.guidance ?? guidance.low
        highNoiseGuidance =
            request.settings.highNoiseGuidance ?? request.settings.guidance
            ?? guidance.high
        let boundary = request.settings.boundary ?? model.settings.boundary ?? defaults.boundary
        boundaryTimestep = variant.hasExperts ? boundary * 1_000 : 0
        let guides = highNoiseGuidance != 1 || variant.hasExperts && lowNoiseGuidance != 1
        let negative = guides ? [request.settings.negativePrompt ?? defaults.negativePrompt] : []
        prompts = [request.prompt] + negative
        references = request.control?.references.count ?? 0
        latentShape = [
            1, model.transformerConfig.outDim, references + (frames - 1) / stride + 1,
            height / model.spatialStride, width / model.spatialStride,
        ]
        issues = [request.control?.issue(frames: frames)].compactMap { $0 }
        try check(request, model)
        if model.device == .cpu, let free = ProcessFacts.availableMemoryBytes {
            let batches = request.settings.batchesGuidance ?? isSmall
            try GenerationMemory(model, isGuided: guides, batches: batches, ranks)
                .require(width: width, height: height, latentFrames: latentShape[2], free: free)
        }
    }

    /// The checkpoint's scheduler, unless the request or the model says how steps are made.
    private static func scheduler(
        _ request: GenerationRequest,
        _ model: GenerationModel
    ) throws(SwanError) -> SchedulerSettings? {
        let settings = request.settings
        guard settings.solver == nil, settings.timesteps == nil, model.stream == nil else {
            return nil
        }
        guard let scheduler = try model.settings.requireScheduler() else { return nil }
        let levels = scheduler.settings.levels
        guard scheduler.solver != .unipc || levels.spread == .even || settings.shift == nil else {
            throw SwanError(
                .invalidRequest,
                "the checkpoint's scheduler has use_karras_sigmas, whose noise levels have no shift; "
                    + "omit the shift or choose a solver"
            )
        }
        return scheduler
    }

    /// Throws for problems that would otherwise appear only after minutes: an impossible table of
    /// noise levels, and tensors with wrong shapes.
    private func check(_ request: GenerationRequest, _ model: GenerationModel) throws {
        do {
            let noise = try Generator(seed: 0)
            _ = try request.settings.makeSolver(
                solver,
                solverSettings,
                steps: steps,
                shift: shift,
                schedule: schedule,
                noise: noise
            )
        } catch let error as SwanError where error.code == .invalidOption {
            throw SwanError(.invalidRequest, error.description, cause: error)
        }
        let config = model.transformerConfig
        func require(
            _ tensor: Tensor?,
            _ what: String,
            _ expected: String,
            _ fits: ([Int]) -> Bool
        ) throws(SwanError) {
            guard let shape = tensor?.shape, !fits(shape) else { return }
            throw SwanError(.invalidRequest, "\(what) must have shape \(expected), not \(shape)")
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
        guard request.lastImage == nil || frames > model.autoencoderChoice.temporalStride
        else {
            throw SwanError(
                .invalidRequest,
                "a video between a first and a last picture needs at least "
                    + "\(model.autoencoderChoice.temporalStride + 1) frames, not \(frames)"
            )
        }
    }

    /// Whether there are so few tokens that reading weights takes longer than computing with them.
    var isSmall: Bool { latentShape[2...].reduce(1, *) < 4 * 2_048 }

    /// The number of tokens of the transformer.
    func tokens(_ model: GenerationModel) -> Int {
        zip(latentShape[2...], model.transformerConfig.patchSize).map { $0 / $1 }.reduce(1, *)
    }

    /// Returns the expert for a timestep.
    func expert(at timestep: Float) -> ModelFolder.Part {
        Double(timestep) >= boundaryTimestep ? .transformer : .lowNoiseTransformer
    }

    /// Returns the guidance scale of an expert.
    func guidance(of expert: ModelFolder.Part) -> Double {
        expert == .lowNoiseTransformer ? lowNoiseGuidance : highNoiseGuidance
    }

    /// Converts an image to the first or last frame [1, 3, 1, height, width].
    ///
    /// If a size was requested, and for TI2V, the image is scaled to cover the video's size and
    /// center-cropped. Otherwise the size already follows from the image's aspect ratio, and the
    /// image is resized to it.
    func frame(_ picture: VideoFrame, _ device: Device) throws -> Tensor {
        guard !coversSize else { return try covering(picture, device) }
        return try ImageCondition.picture(picture, on: device)
            .resizedBicubic(height: height, width: width).unsqueezed(2)
    }

    /// Converts the last image, cropped to the first one's aspect ratio if it has another.
    func frame(_ picture: VideoFrame, like first: VideoFrame, _ device: Device) throws -> Tensor {
        let isAlike = picture.width * first.height == picture.height * first.width
        guard !coversSize, !isAlike else { return try frame(picture, device) }
        return try frame(picture.covering(width: first.width, height: first.height), device)
    }

    /// Converts control frames to a tensor [1, 3, T, height, width]; missing frames are gray.
    func video(_ pictures: [VideoFrame], _ device: Device) throws -> Tensor {
        var parts = try pictures.prefix(frames).map { try covering($0, device) }
        if parts.count < frames {
            let shape = [1, 3, frames - parts.count, height, width]
            parts.append(try .zeros(shape, .float32, device))
        }
        return try concatenated(parts, dim: 2)
    }

    /// Converts masks to a tensor [1, 1, T, height, width], 1 where white; missing ones are white.
    ///
    /// - Parameter followed: The number of frames that one mask is for.
    func masks(_ pictures: [VideoFrame], for followed: Int, _ device: Device) throws -> Tensor {
        let isStill = pictures.count == 1
        let pictures = isStill ? Array(repeating: pictures[0], count: followed) : pictures
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
                "an image of \(picture.width)x\(picture.height) cannot cover \(width)x\(height): "
                    + error.message,
                cause: error
            )
        }
        return try ImageCondition.picture(cut, on: device).unsqueezed(2)
    }

    /// Returns the embeddings provided instead of prompts; `nil` if there are none.
    func givenEmbeddings(_ request: GenerationRequest) throws(SwanError) -> [Tensor]? {
        guard let prompt = request.promptEmbeddings else { return nil }
        guard prompts.count > 1 else { return [prompt] }
        guard let negative = request.negativeEmbeddings else {
            throw SwanError(
                .invalidRequest,
                "guidance also needs negative embeddings, but only the prompt's were provided"
            )
        }
        return [prompt, negative]
    }

    // MARK: - Validation

    /// Throws if images are missing, or if the model does not use them.
    private static func check(
        _ request: GenerationRequest,
        _ variant: WanVariant
    ) throws(SwanError) {
        func refuse(_ message: String) -> SwanError { SwanError(.invalidRequest, message) }
        let task = "this is \(variant.task.named) model"
        if variant.needsImage, request.image == nil {
            throw refuse("\(task), which needs a first picture; specify one with --image")
        }
        if request.image != nil, !variant.takesImage {
            throw refuse(
                variant.task == .controlToVideo
                    ? "\(task), which does not accept a first picture; use --reference for pictures"
                    : "\(task), which does not accept a picture; use an image-to-video model"
            )
        }
        if request.lastImage != nil, !variant.needsImage {
            throw refuse("\(task), which does not accept a last picture; use a FLF2V or I2V model")
        }
        if variant.task == .firstLastFrameToVideo, request.lastImage == nil {
            throw refuse("\(task), which also needs a last picture; specify one with --last-image")
        }
        if request.lastImage != nil, variant.task == .imageToVideo, variant.seesImages {
            throw refuse("\(task), which accepts only a first picture; use a FLF2V model")
        }
        if request.control != nil, variant.task != .controlToVideo {
            throw refuse(
                "\(task), which does not accept a control video, references or a control scale; use "
                    + "a VACE model"
            )
        }
        if !variant.hasExperts,
            request.settings.lowNoiseGuidance != nil || request.settings.highNoiseGuidance != nil
                || request.settings.boundary != nil
        {
            throw refuse(
                "the model has one transformer; separate guidance for low and high noise and a "
                    + "boundary are for models with two (use --guidance)"
            )
        }
    }

    private static func size(
        _ request: GenerationRequest,
        _ model: GenerationModel
    ) throws -> GenerationSettings.PictureSize {
        if let size = request.settings.size {
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
            guard request.settings.area == nil else {
                throw SwanError(
                    .invalidRequest,
                    "an area needs a picture for its aspect ratio; specify a size instead"
                )
            }
            return GenerationSettings.PictureSize(width: defaults.width, height: defaults.height)
        }
        let patch = model.sizeMultiple
        let rule = try SizeFromImage(
            width: picture.width,
            height: picture.height,
            area: request.settings.area ?? defaults.width * defaults.height,
            multiple: (patch, patch)
        )
        let covers = model.variant.task == .textOrImageToVideo
        let size = try covers ? rule.nearestRatio() : rule.cutSides()
        return GenerationSettings.PictureSize(width: size.width, height: size.height)
    }
}
