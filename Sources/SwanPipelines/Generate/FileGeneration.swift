import Foundation
public import Logging
public import SwanCheckpoints
public import SwanMedia
import SwanSystem
import SwanThreads
import Synchronization
import Torch
import SwanSchedulers

/// A complete job: generates videos and writes them to files.
///
/// A file appears under its name when its video is finished; unfinished files are removed.
public final class FileGeneration: Sendable {
    private let request: FileGenerationRequest
    private let log: Logger
    private let stop = CancellationFlag()
    /// The processes that generate the videos together. The first one writes the files.
    private let ranks: GenerationRanks?
    private var writes: Bool { ranks?.isFirst ?? true }
    private let writer = Mutex<VideoWriter?>(nil)

    /// Creates a job without starting it.
    public init(_ request: FileGenerationRequest, log: Logger = Logger(label: "swan")) {
        self.request = request
        self.log = log
        ranks = nil
    }

    /// Creates a job of several processes, each of which runs it.
    package init(
        _ request: FileGenerationRequest,
        log: Logger = Logger(label: "swan"),
        ranks: GenerationRanks?
    ) {
        self.request = request
        self.log = log
        self.ranks = ranks
    }

    /// Runs the job to completion.
    ///
    /// - Parameter onProgress: Called on the calling thread.
    /// - Returns: A summary; if the job was stopped, it lists the videos that were finished.
    public func run(
        onProgress: @escaping (GenerationProgress) throws -> Void = { _ in }
    ) throws -> GenerationSummary {
        if let student = try LiteStudentFolder(request.model) {
            guard ranks == nil else {
                throw SwanError(
                    .invalidRequest,
                    "\(request.model): a student's picture is made by one process; start it without "
                        + "'swan launch'"
                )
            }
            return try StudentPictures(request, student, log: log, stop: stop)
                .run(onProgress: onProgress)
        }
        let jobs = try request.jobs()
        if writes { try request.files.check() }
        for job in jobs
        where writes && job.output != "-" && !OutputPath.isWrittenDirectly(job.output) {
            // The size of a compressed video is not known in advance; require a minimum of space.
            try DiskSpace.require(1 << 20, for: job.output)
        }
        let generator = VideoGenerator(
            try GenerationModel(request.model, options: request.options),
            log: log,
            ranks: ranks
        )
        if writes { generator.model.folder.warn(log) }
        var summary = GenerationSummary()
        var steps: [Double] = []
        let began = ContinuousClock.now
        do {
            for (index, job) in jobs.enumerated() {
                if let ranks { try ranks.checkStop(stop) } else { try stop.check() }
                var progress = GenerationProgress(video: index + 1, of: jobs.count)
                let start = ContinuousClock.now
                let video = try write(job, generator) { event in
                    guard progress.take(event) else { return }
                    try onProgress(progress)
                }
                var entry = GenerationSummary.Video(
                    output: job.output,
                    prompt: job.request.prompt,
                    seed: job.request.settings.seed
                )
                entry.seconds = (ContinuousClock.now - start).seconds
                entry.reusedSteps = video.reusedSteps
                summary.videos.append(entry)
                summary.stages.add(video.seconds)
                summary.firstStepSeconds = summary.firstStepSeconds ?? video.seconds.untilFirstStep
                steps += video.seconds.steps
                describe(video.plan, generator.model, &summary)
            }
        } catch is CancellationError {
            summary.wasInterrupted = true
        } catch {
            writer.withLock { $0 }?.cancel()
            throw error
        }
        summary.secondsPerStep = steps.isEmpty ? nil : steps.sorted()[steps.count / 2]
        summary.seconds = (ContinuousClock.now - began).seconds
        summary.peakMemoryBytes = ProcessFacts.peakMemoryBytes
        summary.threads = Engine.threads
        return summary
    }

    /// Ends the job within a step and discards the unfinished video. Can be called from any thread.
    public func requestStop() { stop.cancel() }

    /// Removes the unfinished output before the process exits. Can be called from any thread.
    public func abandon() { writer.withLock { $0 }?.cancel() }

    // MARK: - One video

    private func write(
        _ job: FileGenerationRequest.Job,
        _ generator: VideoGenerator,
        _ onEvent: @escaping (GenerationEvent) throws -> Void
    ) throws -> GeneratedVideo {
        let plan = try GenerationPlan(job.request, generator.model, ranks)
        let rate = try frameRate(plan)
        var picture: VideoFrame?
        let isPicture =
            plan.frames == 1 && job.output.hasSuffix(".png") && !job.output.contains("%")
        // Open the output first, to report one that cannot be written before hours of work.
        let output = isPicture || !writes ? nil : try open(job.output, plan, rate)
        let latentsPath = writes ? request.saveLatents.map { request.numbered($0, job) } : nil
        for path in [isPicture && writes ? job.output : nil, latentsPath].compactMap({ $0 }) {
            try OutputPath.requireWritable(path)
        }
        defer {
            output?.cancel()
            writer.withLock { $0 = nil }
        }
        let video = try generator.generate(job.request, plan, stop) { event in
            if case .frames(let frames, _) = event {
                for frame in frames where output != nil || isPicture {
                    picture = frame
                    try output?.append(frame)
                }
            }
            // Parts are released after use, so check their files now.
            try Engine.requireWholeFiles()
            try onEvent(event)
        }
        if let output {
            try output.finish()
        } else if let picture {
            try writePNG(picture, job.output, replaces: request.overwrites)
        }
        if let latentsPath {
            let latents = try video.latents.to(.cpu).contiguous()
            try Safetensors.write(["latents": latents], to: latentsPath)
        }
        for issue in video.promptIssues { log.warning("\(issue)") }
        return video
    }

    private func open(
        _ path: String,
        _ plan: GenerationPlan,
        _ rate: Rational
    ) throws -> VideoWriter {
        do throws(SwanError) {
            let output = try VideoWriter(
                path: path,
                width: plan.width,
                height: plan.height,
                frameRate: rate,
                options: VideoWriter.Options(replaces: request.overwrites)
            )
            writer.withLock { $0 = output }
            return output
        } catch {
            guard error.code == .unsupported else { throw error }
            // The name and the size come from the request, so the request is invalid.
            throw SwanError(.invalidRequest, error.message, cause: error)
        }
    }

    private func frameRate(_ plan: GenerationPlan) throws(SwanError) -> Rational {
        let wanted = request.frameRate ?? Double(plan.framesPerSecond)
        guard let rate = Rational(wanted) else {
            throw SwanError(.invalidRequest, "\(wanted) is not a valid frame rate")
        }
        return rate
    }

    private func describe(
        _ plan: GenerationPlan,
        _ model: GenerationModel,
        _ summary: inout GenerationSummary
    ) {
        summary.model = model.name
        summary.task = model.variant.task.rawValue
        (summary.width, summary.height, summary.frames) = (plan.width, plan.height, plan.frames)
        summary.framesPerSecond = request.frameRate ?? Double(plan.framesPerSecond)
        (summary.steps, summary.shift) = (plan.steps, plan.shift)
        summary.solver =
            request.generation.settings.timesteps == nil ? plan.solver.rawValue : "few-step"
        summary.schedule = plan.schedule.rawValue
        summary.guidance = plan.highNoiseGuidance
        summary.lowNoiseGuidance = model.variant.hasExperts ? plan.lowNoiseGuidance : nil
        summary.device = "\(model.device)"
        summary.dtype = "\(model.dtype)"
        summary.ranks = ranks?.size
    }
}

/// The settings of a generation to files.
public struct FileGenerationRequest: Sendable {
    /// The path of the model's folder or of its transformer's file.
    public var model: String
    /// How the model's parts are opened.
    public var options = GenerationOptions()
    /// The settings that all videos share, with the prompt of the first one.
    public var generation: GenerationRequest
    /// Further prompts, with a video for each.
    public var morePrompts: [String] = []
    /// The number of videos per prompt, with consecutive seeds.
    public var variants = 1
    /// The output's path; if there are several videos, a number is inserted before the extension.
    public var output: String
    /// The frame rate; `nil` for the one the model was trained with.
    public var frameRate: Double?
    /// The path of a safetensors file for the final latents, under the key `latents`.
    public var saveLatents: String?
    /// Whether files that exist under the outputs' names when the job finishes are replaced.
    public var overwrites = true

    /// Creates a request for one video with default settings.
    public init(model: String, prompt: String, output: String) {
        self.model = model
        self.output = output
        generation = GenerationRequest(prompt: prompt)
    }

    /// The files that the job reads and writes, as far as paths tell.
    package var files: JobFiles {
        get throws {
            var files = JobFiles()
            files.models = [model] + [options.vae].compactMap { $0 }
            // The other parts are in the same folder as the transformer's file.
            if FileIdentity(model)?.isRegularFile ?? false {
                files.models.append(LooseFiles.root(of: model))
            }
            files.models += options.files.values.sorted() + options.loras.map(\.path)
            for job in try jobs() {
                files.outputs.append(.video(job.output))
                if let saveLatents { files.outputs.append(.file(numbered(saveLatents, job))) }
            }
            return files
        }
    }

    /// One video of a job.
    struct Job {
        let request: GenerationRequest
        let output: String
        /// The number of the video, if there are several.
        let number: Int?
    }

    /// The videos to generate, in order.
    func jobs() throws(SwanError) -> [Job] {
        guard (1...10_000).contains(variants) else {
            throw SwanError(
                .invalidRequest,
                "the number of variants must be 1 to 10000, not \(variants)"
            )
        }
        guard !output.isEmpty else {
            throw SwanError(.invalidRequest, "the path of the output is empty")
        }
        if let frameRate, !(0.1...1_000).contains(frameRate) {
            throw SwanError(
                .invalidRequest,
                "the frame rate must be 0.1 to 1000 frames per second, not \(frameRate)"
            )
        }
        let prompts = [generation.prompt] + morePrompts
        let isAlone = prompts.count * variants == 1
        guard isAlone || output != "-" else {
            throw SwanError(
                .invalidRequest,
                "cannot write several videos to standard output; specify a file"
            )
        }
        var jobs: [Job] = []
        for prompt in prompts {
            for variant in 0..<variants {
                var request = generation
                request.prompt = prompt
                request.settings.seed &+= UInt64(variant)
                try request.check()
                let number = isAlone ? nil : jobs.count + 1
                jobs.append(
                    Job(
                        request: request,
                        output: Self.numbered(output, number),
                        number: number
                    )
                )
            }
        }
        return jobs
    }

    func numbered(_ path: String, _ job: Job) -> String { Self.numbered(path, job.number) }

    /// Numbers a path: `out.mp4` and 3 become `out-3.mp4`; image patterns get one folder per video.
    private static func numbered(_ path: String, _ number: Int?) -> String {
        guard let number else { return path }
        let url = URL(fileURLWithPath: path)
        if path.contains("%") {
            let folder = path.dropLast(url.lastPathComponent.count + 1)
            return (folder.isEmpty ? "" : folder + "-") + "\(number)/\(url.lastPathComponent)"
        }
        let ending = url.pathExtension
        let stem = ending.isEmpty ? path : String(path.dropLast(ending.count + 1))
        return ending.isEmpty ? "\(stem)-\(number)" : "\(stem)-\(number).\(ending)"
    }
}

/// The progress of a job.
public struct GenerationProgress: Sendable {
    /// The stages of a video, in order.
    public enum Stage: Sendable, Equatable {
        /// Opening a part and preparing inputs with it.
        case loading(ModelFolder.Part)
        case denoising
        case decoding
    }

    /// The number of the current video, from 1, and the number of videos.
    public let video: Int, of: Int
    /// The current stage.
    public internal(set) var stage = Stage.loading(.textEncoder)
    /// The steps (or frames, when decoding) completed so far, and their total number.
    public internal(set) var done = 0, total = 0
    /// The seconds since the first step began.
    public internal(set) var seconds = 0.0
    /// A preview of the video so far; set only in the progress update that delivers it.
    public internal(set) var preview: VideoFrame?

    init(video: Int, of count: Int) {
        self.video = video
        of = count
    }

    /// The estimated seconds until the last step at this speed; `nil` if unknown.
    public var remainingSeconds: Double? {
        guard stage == .denoising, done > 0 else { return nil }
        return seconds / Double(done) * Double(total - done)
    }

    /// Updates the progress with an event; returns `false` if the event is not progress.
    mutating func take(_ event: GenerationEvent) -> Bool {
        preview = nil
        switch event {
        case .loading(let part): (stage, done, total) = (.loading(part), 0, 0)
        case .step(let step, let count, let elapsed):
            (stage, done, total, seconds) = (.denoising, step, count, elapsed)
        case .preview(let picture, _): preview = picture
        case .frames(let frames, let count):
            if stage != .decoding { (stage, done) = (.decoding, 0) }
            (done, total) = (done + frames.count, count)
        case .result: return false
        }
        return true
    }
}
