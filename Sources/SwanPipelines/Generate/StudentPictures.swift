import Foundation
import Logging
import SwanCheckpoints
import SwanMedia
import SwanModels
import SwanSchedulers
import SwanSystem
import SwanText
import SwanThreads
import Torch

/// A job whose model is a student for pictures: writes one picture for each prompt and seed.
///
/// A student has learned its teacher's guided flow, so it runs once a step, by Euler's method.
final class StudentPictures {
    private let request: FileGenerationRequest
    private let student: LiteStudentFolder
    private let folder: ModelFolder
    private let autoencoder: AutoencoderChoice
    private let sampling: StudentSampling
    private let device: Device
    private let dtype: DType
    private let log: Logger
    private let stop: CancellationFlag
    private let size: GenerationSettings.PictureSize
    private var stages = GenerationSummary.Stages()
    private var steps: [Double] = []

    /// Checks a request; no weights are read.
    ///
    /// - Throws: `invalidRequest` for what a picture or a student does not have.
    init(
        _ request: FileGenerationRequest,
        _ student: LiteStudentFolder,
        log: Logger,
        stop: CancellationFlag
    ) throws {
        (self.request, self.student, self.log, self.stop) = (request, student, log, stop)
        try StudentRequestCheck(request).check()
        device = try Device(named: request.options.device)
        dtype = request.options.dtype ?? .suited(to: device)
        folder = try ModelFolder(student.path, choosing: request.options.files)
        let own: [ModelFolder.Part] = request.options.vae == nil ? [.vae] : []
        try folder.require([.textEncoder, .tokenizer] + own)
        autoencoder = try AutoencoderChoice(
            request.options.vae,
            in: folder,
            latentChannels: student.sampling.latentChannels
        )
        guard autoencoder.latentChannels == student.sampling.latentChannels else {
            throw SwanError(
                .invalidModel,
                "\(student.path): the autoencoder has \(autoencoder.latentChannels) channels, but "
                    + "the student was trained for \(student.sampling.latentChannels)"
            )
        }
        let settings = request.generation.settings
        var sampling = student.sampling
        sampling.steps = settings.steps ?? sampling.steps
        sampling.shift = settings.shift ?? sampling.shift
        self.sampling = sampling
        size = try Self.size(settings, student, stride: autoencoder.spatialStride)
    }

    private static func size(
        _ settings: GenerationSettings,
        _ student: LiteStudentFolder,
        stride: Int
    ) throws(SwanError) -> GenerationSettings.PictureSize {
        let side =
            student.sampling.isParity
            ? student.config.imageSize / student.config.patchSize * stride
            : student.config.imageSize
        let size = settings.size ?? .init(width: side, height: side)
        guard size.width.isMultiple(of: stride), size.height.isMultiple(of: stride) else {
            throw SwanError(
                .invalidRequest,
                "the width and height must be multiples of \(stride), not "
                    + "\(size.width)x\(size.height)"
            )
        }
        return size
    }

    /// Makes the pictures.
    func run(onProgress: (GenerationProgress) throws -> Void) throws -> GenerationSummary {
        let jobs = try request.jobs()
        try request.files.check()
        for job in jobs { try OutputPath.requireWritable(job.output) }
        let began = ContinuousClock.now
        var summary = GenerationSummary()
        do {
            try inference {
                let texts = try prompts(of: jobs, onProgress)
                let network = try timed(\.load) { try student.load(dtype, device) }
                let vae = try timed(\.load) { try autoencoder.load(from: folder, .float32, device) }
                for (index, job) in jobs.enumerated() {
                    try stop.check()
                    var progress = GenerationProgress(video: index + 1, of: jobs.count)
                    let start = ContinuousClock.now
                    let text = texts[job.request.prompt]
                    try write(job, network, vae, text) { event in
                        if progress.take(event) { try onProgress(progress) }
                    }
                    var entry = GenerationSummary.Video(
                        output: job.output,
                        prompt: job.request.prompt,
                        seed: job.request.settings.seed
                    )
                    entry.seconds = (ContinuousClock.now - start).seconds
                    summary.videos.append(entry)
                }
            }
        } catch is CancellationError {
            summary.wasInterrupted = true
        }
        describe(&summary, seconds: (ContinuousClock.now - began).seconds)
        return summary
    }

    /// The means [1, textDim] of all prompts' embeddings. The encoder is then released.
    private func prompts(
        of jobs: [FileGenerationRequest.Job],
        _ onProgress: (GenerationProgress) throws -> Void
    ) throws -> [String: Tensor] {
        try onProgress(GenerationProgress(video: 1, of: jobs.count))
        var sizes = WanConfig()
        sizes.textDim = student.config.textDim
        let (files, source, config) = try folder.textEncoder(for: sizes)
        let onCPU = request.options.textEncoderOnCPU
        let place = onCPU ? Device.cpu : device
        let asked = onCPU ? request.options.dtype ?? .suited(to: .cpu) : dtype
        // UMT5's activations exceed the range of float16.
        let type = asked != .float16 ? asked : place == .cpu ? .suited(to: .cpu) : .bfloat16
        let encoder = try timed(\.load) {
            try files.network(source, type, place) { weights throws(SwanError) in
                try UMT5Encoder(weights, config)
            }
        }
        let tokenizer = try folder.tokenizer(for: config)
        var means: [String: Tensor] = [:]
        for prompt in Set(jobs.map(\.request.prompt)).sorted() {
            try stop.check()
            means[prompt] = try timed(\.text) {
                let found = try tokenizer.encode(prompt, maxTokens: sizes.textLen)
                for issue in found.issues { log.warning("\(issue)") }
                return try LiteStudent2D.pooled(encoder.encode([found.tokens]).to(.float32))
                    .to(device, dtype)
            }
        }
        return means
    }

    private func write(
        _ job: FileGenerationRequest.Job,
        _ network: ProjectedStudent,
        _ vae: any VideoAutoencoder,
        _ text: Tensor?,
        _ handle: (GenerationEvent) throws -> Void
    ) throws {
        guard let text else { return }
        let random = try Generator(seed: job.request.settings.seed)
        let stride = autoencoder.spatialStride
        let shape = [1, student.config.channels, size.height / stride, size.width / stride]
        let noise = try Tensor.randn(shape, random).to(device, dtype)
        let began = ContinuousClock.now
        var last = began
        let latents = try timed(\.denoise) {
            try sampling.latents(from: noise, network, text: text) { step in
                try stop.check()
                let now = ContinuousClock.now
                steps.append((now - last).seconds)
                last = now
                let elapsed = (now - began).seconds
                try handle(.step(step, of: sampling.steps, seconds: elapsed))
            }
        }
        guard try latents.isAllFinite() else {
            throw SwanError(
                .invalidWeights,
                "\(student.path): the student's latents are not finite (NaN or infinite); it was "
                    + "not trained to the end, or values exceed the range of \(dtype)"
            )
        }
        let pictures = try timed(\.vaeDecode) {
            try frames(of: vae.video(of: latents.to(.float32).unsqueezed(2)))
        }
        guard let picture = pictures.first else { return }
        try writePNG(picture, job.output, replaces: request.overwrites)
        try handle(.frames([picture], of: 1))
    }

    private func timed<R>(
        _ total: WritableKeyPath<GenerationSummary.Stages, Double>,
        _ work: () throws -> R
    ) throws -> R {
        let began = ContinuousClock.now
        defer { stages[keyPath: total] += 1_000 * (ContinuousClock.now - began).seconds }
        return try work()
    }

    private func describe(_ summary: inout GenerationSummary, seconds: Double) {
        summary.model = URL(fileURLWithPath: student.path).lastPathComponent
        summary.task = "text-to-picture"
        (summary.width, summary.height, summary.frames) = (size.width, size.height, 1)
        (summary.steps, summary.shift) = (sampling.steps, sampling.shift)
        summary.solver = sampling.isParity ? "ddim" : "euler"
        summary.guidance = 1
        summary.device = "\(device)"
        summary.dtype = "\(dtype)"
        summary.stages = stages
        summary.seconds = seconds
        summary.secondsPerStep = steps.isEmpty ? nil : steps.sorted()[steps.count / 2]
        summary.peakMemoryBytes = ProcessFacts.peakMemoryBytes
        summary.threads = Engine.threads
    }
}

/// What a student for pictures cannot do.
struct StudentRequestCheck {
    private let request: FileGenerationRequest

    init(_ request: FileGenerationRequest) { self.request = request }

    /// Throws `invalidRequest` for the first option that a student does not have.
    func check() throws(SwanError) {
        let (generation, settings) = (request.generation, request.generation.settings)
        if let frames = settings.frames, frames != 1 {
            throw refusal("makes pictures, not videos of \(frames) frames; use --frames 1")
        }
        guard request.output.lowercased().hasSuffix(".png"), !request.output.contains("%") else {
            throw refusal(
                "makes pictures, not videos; \(request.output) should be a file that ends in .png"
            )
        }
        let absent: [(Bool, String)] = [
            (generation.image != nil || generation.lastImage != nil, "input images"),
            (generation.control != nil, "control inputs"),
            (generation.initialLatents != nil, "latents to begin with"),
            (request.saveLatents != nil, "latents to save"),
            (!request.options.loras.isEmpty, "LoRAs"),
            (settings.timesteps != nil, "a list of timesteps"),
            (settings.solver.map { $0 != .euler } ?? false, "solvers other than euler"),
            (settings.boundary != nil, "a boundary between experts"),
            (settings.cacheThreshold != nil, "a cache of blocks"),
            (settings.previewInterval != nil, "previews"),
            (settings.area != nil, "an area in place of a size"),
            (
                [settings.guidance, settings.lowNoiseGuidance, settings.highNoiseGuidance]
                    .contains { $0 ?? 1 != 1 } || settings.negativePrompt != nil,
                "guidance at this point: its teacher's is part of what it has learned"
            ),
        ]
        if let (_, what) = absent.first(where: \.0) { throw refusal("has no \(what)") }
    }

    private func refusal(_ words: String) -> SwanError {
        SwanError(.invalidRequest, "\(request.model): is a student for pictures, which \(words)")
    }
}
