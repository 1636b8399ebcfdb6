import Foundation
import SwanCheckpoints
import SwanDistributed
import SwanMedia
import SwanModels
import SwanSchedulers
import SwanSystem
import SwanText
import SwanThreads
import Torch
import TorchNN
import Synchronization

/// Generates one video, from the request to its frames.
final class GenerationJob {
    let generator: VideoGenerator
    let model: GenerationModel
    let request: GenerationRequest
    let plan: GenerationPlan
    private let stop: CancellationFlag
    let ranks: GenerationRanks?
    let handle: (GenerationEvent) throws -> Void
    private var seconds = GenerationSeconds()
    var promptIssues: [PromptIssue] = []

    init(
        _ generator: VideoGenerator,
        _ request: GenerationRequest,
        _ plan: GenerationPlan,
        _ stop: CancellationFlag,
        _ handle: @escaping (GenerationEvent) throws -> Void
    ) {
        self.generator = generator
        model = generator.model
        self.request = request
        self.plan = plan
        self.stop = stop
        ranks = generator.ranks
        self.handle = handle
    }

    func run() throws -> GeneratedVideo {
        try ranks?.requireSame(plan, model, request)
        // Impossible divisions, and ranks that cannot connect, are reported before hours of work.
        let division = try division()
        let texts = try encodePrompts()
        let features = try encodeImages()
        let input =
            try model.variant.task == .controlToVideo ? encodeControl() : encodePictures()
        let (latents, reused) =
            if let stream = model.stream {
                (try streamLatents(stream, texts[0]), 0)
            } else {
                try denoise(input, texts, features, division)
            }
        // On processors of different kinds, latents may differ in their last bits.
        let shown = try fromFirst { [latents] }[0].to(model.device)
        try decode(shown.sliced(2, from: plan.references))
        return GeneratedVideo(
            framesPerSecond: plan.framesPerSecond,
            latents: latents,
            plan: plan,
            seconds: seconds,
            promptIssues: promptIssues,
            reusedSteps: reused
        )
    }

    /// Throws a `CancellationError` if the job, on any rank, has been asked to end. All ranks call
    /// this together.
    func checkStop() throws {
        guard let ranks else { return try stop.check() }
        try ranks.checkStop(stop)
    }

    /// How ranks divide the transformer's work.
    private func division() throws -> FlowDivision? {
        guard let ranks else { return nil }
        guard !ranks.division.dividesGuidance || plan.prompts.count > 1 else {
            throw SwanError(
                .invalidRequest,
                "guidance is off, so --guidance-parallel has no second branch to divide; leave it out"
            )
        }
        let tokens = plan.tokens(model)
        try ranks.requireShardable(
            model.options,
            tokens: tokens,
            caches: request.settings.cacheThreshold != nil
        )
        for part in [ModelFolder.Part.transformer, .textEncoder] { _ = try shards(of: part) }
        try ranks.connect(rows: plan.latentShape[3], inTiles: model.options.tilesVAE)
        return try ranks.flow(tokens: tokens, heads: model.transformerConfig.heads)
    }

    /// The ranks that share the weights of a part with this one; nil if each has all of them.
    func shards(of part: ModelFolder.Part) throws -> ProcessGroup? {
        try ranks?.shards(on: model.device(of: part))
    }

    /// Returns the tensors of rank 0, which alone makes them.
    func fromFirst(_ make: () throws -> [Tensor]) throws -> [Tensor] {
        guard let ranks else { return try make() }
        do {
            return try ranks.fromFirst(make)
        } catch let error as CancellationError {
            // Rank 0 was asked to stop; the others learn by which signal.
            try checkStop()
            throw error
        }
    }

    /// Returns a part, opening it unless it is in memory.
    ///
    /// - Parameter onAllRanks: False for a part that rank 0 alone opens.
    func open<Network: Sendable>(
        _ part: ModelFolder.Part,
        onAllRanks: Bool = true,
        _ make: () throws -> Network
    ) throws -> Network {
        try onAllRanks ? checkStop() : stop.check()
        return try generator.part(part) {
            try handle(.loading(part))
            let began = ContinuousClock.now
            defer { seconds.load += (ContinuousClock.now - began).seconds }
            return try make()
        }
    }

    /// Does some work as a step of its own.
    func timedStep<R>(_ work: () throws -> R) throws -> R {
        let began = ContinuousClock.now
        if seconds.untilFirstStep == nil {
            seconds.untilFirstStep = ProcessFacts.start.map { (began - $0).seconds }
        }
        defer { seconds.steps.append((ContinuousClock.now - began).seconds) }
        return try work()
    }

    /// Adds the time that some work takes to that of a stage.
    func timed<R>(
        _ total: WritableKeyPath<GenerationSeconds, Double>,
        _ work: () throws -> R
    ) throws -> R {
        let began = ContinuousClock.now
        defer { seconds[keyPath: total] += (ContinuousClock.now - began).seconds }
        return try work()
    }
}

// MARK: - Images

extension GenerationJob {
    /// Returns the CLIP features of the images [1, 257 n, C], for models that attend to them.
    private func encodeImages() throws -> Tensor? {
        guard model.variant.seesImages else { return nil }
        if let given = request.imageEmbeddings { return try given.to(model.device, model.dtype) }
        return try fromFirst { [try encodedImages()] }[0].to(model.device)
    }

    private func encodedImages() throws -> Tensor {
        let encoder = try open(.imageEncoder, onAllRanks: false) { try model.imageEncoder() }
        return try timed(\.image) {
            let pictures = [request.image, request.lastImage].compactMap { $0 }
            let features = try concatenated(
                pictures.map { picture throws(SwanError) in
                    try encoder(ImageCondition.picture(picture, on: model.device))
                },
                dim: 1
            )
            try model.requireFinite(features, .imageEncoder, "the image embedding")
            return try features.to(model.dtype)
        }
    }

    /// Encodes the images, which are concatenated to the noise or replace part of it.
    private func encodePictures() throws -> DenoisingInput {
        var input = DenoisingInput(dtype: model.dtype)
        guard let image = request.image else { return input }
        let vae = try autoencoder()
        return try timed(\.image) {
            let first = try plan.frame(image, model.device)
            let latents: Tensor
            if model.variant.task == .textOrImageToVideo {
                latents = try vae.latents(of: first).to(.float32)
                input.firstFrame = latents
            } else {
                latents = try ImageCondition.latents(
                    first: first,
                    last: request.lastImage.map { try plan.frame($0, like: image, model.device) },
                    frames: plan.frames,
                    vae
                )
                input.extraChannels = latents
            }
            try model.requireFinite(latents, .vae, "the encoded image")
            return input
        }
    }

    /// Returns the autoencoder, with its pictures divided among the ranks.
    func autoencoder() throws -> any VideoAutoencoder {
        let vae = try open(.vae) { try model.autoencoder() }
        return try ranks?.dividing(vae) ?? vae
    }

    /// Encodes the input of a VACE model's control branch.
    private func encodeControl() throws -> DenoisingInput {
        var input = DenoisingInput(dtype: model.dtype)
        let control = request.control ?? GenerationRequest.Control()
        let vae = try autoencoder()
        return try timed(\.image) {
            let latents = try VACEControl.latents(
                video: plan.video(control.followed, model.device),
                mask: control.masks.isEmpty
                    ? nil
                    : plan.masks(control.masks, for: control.followed.count, model.device),
                references: control.references.map { picture throws(SwanError) in
                    try VACEControl.reference(
                        ImageCondition.picture(picture, on: model.device),
                        height: plan.height,
                        width: plan.width
                    )
                },
                encode: { video throws(SwanError) in try vae.latents(of: video).to(.float32) }
            )
            try model.requireFinite(latents, .vae, "the encoded control video")
            input.control = try latents.to(model.dtype)
            return input
        }
    }
}

// MARK: - Denoising

extension GenerationJob {
    private func denoise(
        _ input: DenoisingInput,
        _ texts: [Tensor],
        _ features: Tensor?,
        _ division: FlowDivision?
    ) throws -> (latents: Tensor, reused: Int) {
        // All noise is drawn on the CPU, in order, so that a seed has the same effect everywhere.
        let random = try Generator(seed: request.settings.seed)
        let noise = try request.initialLatents ?? .randn(plan.latentShape, random)
        var solver = try request.settings.makeSolver(
            plan.solver,
            plan.solverSettings,
            steps: plan.steps,
            shift: plan.shift,
            schedule: plan.schedule,
            noise: random
        )
        let steps = solver.steps
        var latents = try input.withFirstFrame(noise.to(model.device, .float32))
        var expert: (part: ModelFolder.Part, transformer: GuidedTransformer)?
        var reused = 0
        var began = ContinuousClock.now
        for (index, timestep) in steps.timesteps.enumerated() {
            let part = plan.expert(at: timestep)
            if expert?.part != part {
                // Release the previous expert first: there may be memory for only one.
                reused += expert?.transformer.reusedSteps ?? 0
                expert = nil
                expert = (part, try guided(part, input, texts, features, division))
            }
            guard let transformer = expert?.transformer else { break }
            try checkStop()
            let start = ContinuousClock.now
            if index == 0 {
                began = start
                seconds.untilFirstStep = ProcessFacts.start.map { (start - $0).seconds }
            }
            let flow = try transformer.flow(
                input.latents(latents),
                timesteps: input.timesteps(timestep, frames: latents.size(2), on: model.device)
            )
            let now = latents
            latents = try input.withFirstFrame(step(&solver, flow, latents, random))
            if index == 0 || index == steps.count - 1 {
                try model.requireFinite(latents, part, "the result of step \(index + 1)")
            }
            let end = ContinuousClock.now
            seconds.steps.append((end - start).seconds)
            try handle(.step(index + 1, of: steps.count, seconds: (end - began).seconds))
            if let interval = request.settings.previewInterval, (index + 1) % interval == 0 {
                try showPreview(now - flow * Double(steps.sigmas[index]), step: index + 1)
            }
        }
        reused += expert?.transformer.reusedSteps ?? 0
        return (latents, try ranks?.largest(reused) ?? reused)
    }

    /// Performs a step of the solver; noise for stochastic solvers is drawn on the CPU.
    private func step(
        _ solver: inout any FlowSolver,
        _ flow: Tensor,
        _ sample: Tensor,
        _ random: Generator
    ) throws -> Tensor {
        guard var stochastic = solver as? any StochasticFlowSolver else {
            return try solver.step(flow: flow, sample: sample)
        }
        let noise = try Tensor.randn(sample.shape, random).to(model.device)
        let next = try stochastic.step(flow: flow, sample: sample, noise: noise)
        solver = stochastic
        return next
    }

    /// Returns an expert with its conditioning.
    private func guided(
        _ part: ModelFolder.Part,
        _ input: DenoisingInput,
        _ texts: [Tensor],
        _ features: Tensor?,
        _ division: FlowDivision?
    ) throws -> GuidedTransformer {
        let shards = try shards(of: part)
        let network = try open(part) { try model.transformer(part, sharing: shards) }
        let guidance = plan.guidance(of: part)
        let isGuided = texts.count > 1 && guidance != 1
        return try GuidedTransformer(
            network,
            prompt: texts[0],
            negative: isGuided ? texts[1] : nil,
            image: features,
            control: input.control.map { ($0, request.control?.scale ?? 1) },
            guidance: Guidance(
                scale: guidance,
                isBatched: request.settings.batchesGuidance ?? plan.isSmall,
                cacheThreshold: request.settings.cacheThreshold
            ),
            division: division
        )
    }
}
