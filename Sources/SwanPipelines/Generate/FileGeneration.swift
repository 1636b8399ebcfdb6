import Foundation
public import Logging
public import SwanCheckpoints
public import SwanMedia
import SwanSystem
import SwanThreads
import Synchronization
import Torch
import SwanSchedulers

/// A whole job: videos are generated and written to files.
///
/// A file appears under its name when its video is finished; of one that is not, nothing is left.
public final class FileGeneration: Sendable {
    private let request: FileGenerationRequest
    private let log: Logger
    private let stop = CancellationFlag()
    private let writer = Mutex<VideoWriter?>(nil)

    /// A job that is not begun yet.
    public init(_ request: FileGenerationRequest, log: Logger = Logger(label: "swan")) {
        self.request = request
        self.log = log
    }

    /// Does the job and waits for it.
    ///
    /// - Parameter onProgress: called on the calling thread.
    /// - Returns: what was done; of a job that was stopped, the videos that were finished.
    public func run(
        onProgress: @escaping (GenerationProgress) throws -> Void = { _ in }
    ) throws -> GenerationSummary {
        let jobs = try request.jobs()
        try request.files.check()
        for job in jobs where job.output != "-" && !OutputPath.isWrittenDirectly(job.output) {
            // Compressed, a video may be of any length; with less than this it is not begun.
            try DiskSpace.require(1 << 20, for: job.output)
        }
        let generator = VideoGenerator(
            try GenerationModel(request.model, options: request.options),
            log: log
        )
        var summary = GenerationSummary()
        var steps: [Double] = []
        let began = ContinuousClock.now
        do {
            for (index, job) in jobs.enumerated() {
                try stop.check()
                var progress = GenerationProgress(video: index + 1, of: jobs.count)
                let start = ContinuousClock.now
                let video = try write(job, generator) { event in
                    guard progress.take(event) else { return }
                    try onProgress(progress)
                }
                var entry = GenerationSummary.Video(
                    output: job.output,
                    prompt: job.request.prompt,
                    seed: job.request.seed
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

    /// From any thread: ends the job within a step. What is unfinished then is given up.
    public func requestStop() { stop.cancel() }

    /// From any thread: removes the unfinished output, for a process that ends at once.
    public func abandon() { writer.withLock { $0 }?.cancel() }

    // MARK: - One video

    private func write(
        _ job: FileGenerationRequest.Job,
        _ generator: VideoGenerator,
        _ onEvent: @escaping (GenerationEvent) throws -> Void
    ) throws -> GeneratedVideo {
        let plan = try GenerationPlan(job.request, generator.model)
        let rate = try frameRate(plan)
        var picture: VideoFrame?
        let isPicture =
            plan.frames == 1 && job.output.hasSuffix(".png") && !job.output.contains("%")
        // Opened first: an output that cannot be written is told before hours of work.
        let output = isPicture ? nil : try open(job.output, plan, rate)
        let latentsPath = request.saveLatents.map { request.numbered($0, job) }
        for path in [isPicture ? job.output : nil, latentsPath].compactMap({ $0 }) {
            try OutputPath.requireWritable(path)
        }
        defer {
            output?.cancel()
            writer.withLock { $0 = nil }
        }
        let video = try generator.generate(job.request, stop: stop) { event in
            if case .frames(let frames, _) = event {
                for frame in frames {
                    picture = frame
                    try output?.append(frame)
                }
            }
            // Parts are let go when they have been used.
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
            // The name or the size was asked for, so it is the request that is wrong.
            throw SwanError(.invalidRequest, error.message)
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
            request.generation.timesteps == nil ? plan.solver.rawValue : "few-step"
        summary.schedule = plan.schedule.rawValue
        summary.guidance = plan.highNoiseGuidance
        summary.lowNoiseGuidance = model.variant.hasExperts ? plan.lowNoiseGuidance : nil
        summary.device = "\(model.device)"
        summary.dtype = "\(model.dtype)"
    }
}

/// What a generation to files is asked for.
public struct FileGenerationRequest: Sendable {
    /// The model's folder, or its transformer's file.
    public var model: String
    /// How its parts are opened.
    public var options = GenerationOptions()
    /// What every video has in common; the prompt is the first video's.
    public var generation: GenerationRequest
    /// More prompts, a video for each.
    public var morePrompts: [String] = []
    /// Videos for each prompt, with seeds that follow each other.
    public var variants = 1
    /// Where the video goes; a number is put before the ending where there are several.
    public var output: String
    /// Frames a second; nil for what the model was trained for.
    public var frameRate: Double?
    /// Where the final latents go, as `latents` in a safetensors file.
    public var saveLatents: String?
    /// Whether files that have the outputs' names at the end are replaced.
    public var overwrites = true

    /// A video of a prompt.
    public init(model: String, prompt: String, output: String) {
        self.model = model
        self.output = output
        generation = GenerationRequest(prompt: prompt)
    }

    /// What is read and what is written, as far as paths say it.
    public var files: JobFiles {
        get throws {
            var files = JobFiles()
            files.models = [model] + [options.vae].compactMap { $0 }
            // Other parts lie beside a transformer's file.
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
        /// Its number, where there are several.
        let number: Int?
    }

    /// The videos to be made, in their order.
    func jobs() throws(SwanError) -> [Job] {
        guard (1...10_000).contains(variants) else {
            throw SwanError(.invalidRequest, "\(variants) variants are not in 1 ... 10000")
        }
        guard !output.isEmpty else { throw SwanError(.invalidRequest, "the output has no name") }
        if let frameRate, !(0.1...1_000).contains(frameRate) {
            throw SwanError(
                .invalidRequest,
                "a frame rate of \(frameRate) a second is not in 0.1 ... 1000"
            )
        }
        let prompts = [generation.prompt] + morePrompts
        let isAlone = prompts.count * variants == 1
        guard isAlone || output != "-" else {
            throw SwanError(.invalidRequest, "several videos cannot all go to standard output")
        }
        var jobs: [Job] = []
        for prompt in prompts {
            for variant in 0..<variants {
                var request = generation
                request.prompt = prompt
                request.seed &+= UInt64(variant)
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

    /// `out.mp4` and 3 -> `out-3.mp4`; pictures of a pattern get a folder each.
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

/// How far a job is.
public struct GenerationProgress: Sendable {
    /// What a job does, one after the other.
    public enum Stage: Sendable, Equatable {
        /// Opening a part and preparing with it.
        case loading(ModelFolder.Part)
        case denoising
        case decoding
    }

    /// The number of the video in work, and how many there are.
    public let video: Int, of: Int
    /// What it does now.
    public internal(set) var stage = Stage.loading(.textEncoder)
    /// Steps, or frames when decoding, that are done, and how many there are.
    public internal(set) var done = 0, total = 0
    /// Seconds since the first step.
    public internal(set) var seconds = 0.0
    /// A picture of what there is; only in the progress that brings it.
    public internal(set) var preview: VideoFrame?

    init(video: Int, of count: Int) {
        self.video = video
        of = count
    }

    /// Seconds that the rest of the steps takes at this speed; nil where nobody knows.
    public var remainingSeconds: Double? {
        guard stage == .denoising, done > 0 else { return nil }
        return seconds / Double(done) * Double(total - done)
    }

    /// Takes what happened in; false where that is no progress.
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
