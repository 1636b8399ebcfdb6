import Foundation
import HTTPTypes
import Logging
import SwanCheckpoints
import SwanHTTP
import SwanMedia
import SwanPipelines
import SwanSystem
import SwanText
import Torch

/// Makes videos from files and prompts: jobs that run beside live sessions.
final class VideoService: Sendable {
    let queue: JobQueue
    /// The bodies of requests that are arriving.
    let arriving: ArrivingBodies
    let limits: JobLimits
    private let restyler: StreamModel
    let generator: VideoModel?
    private let budget: ComputeBudget
    private let outputPixels: Int
    private let log: Logger
    /// Blocking work of requests, each kind one after the other: inspecting uploads, and changing jobs.
    private let uploads = DispatchQueue(label: "swan.jobs.uploads")
    private let changes = DispatchQueue(label: "swan.jobs.changes")

    /// Takes over the jobs of a folder.
    init(
        _ options: JobOptions,
        restyler: StreamModel,
        budget: ComputeBudget,
        outputPixels: Int,
        log: Logger
    ) throws {
        limits = options.limits
        arriving = ArrivingBodies(options.limits)
        self.restyler = restyler
        generator = options.generator
        self.budget = budget
        self.outputPixels = outputPixels
        self.log = log
        let store = try JobStore(options.folder)
        let maker = VideoMaker(
            store: store,
            limits: limits,
            restyler: restyler,
            generator: options.generator,
            budget: budget,
            outputPixels: outputPixels,
            log: log
        )
        queue = try JobQueue(store, limits, log: log) { try maker.run($0, $1) }
    }

    /// The service that a server's options ask for; nil for none.
    ///
    /// A default folder that cannot be used, such as one that another server has, costs the jobs and not the server.
    static func open(
        _ options: ServerOptions,
        _ model: StreamModel,
        _ budget: ComputeBudget,
        _ log: Logger
    ) throws -> VideoService? {
        guard let jobs = options.jobs else { return nil }
        do {
            return try VideoService(
                jobs,
                restyler: model,
                budget: budget,
                outputPixels: options.limits.outputPixels,
                log: log
            )
        } catch let error as SwanError where jobs.isOptional {
            log.notice("this server takes no jobs (/v1/videos): \(error.message)")
            return nil
        }
    }

    /// The names of the models that make videos.
    var models: [(name: String, kind: JobRequest.Kind)] {
        [(restyler.name, .restyle)] + (generator.map { [($0.model.name, .generate)] } ?? [])
    }

    /// Runs blocking work of a request.
    ///
    /// - Parameter inspects: Whether the work is that of an upload, for which nothing else should wait.
    func blocking<Result: Sendable>(
        inspects: Bool = false,
        _ work: @escaping @Sendable () throws -> Result
    ) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            (inspects ? uploads : changes).async {
                continuation.resume(with: Swift.Result { try work() })
            }
        }
    }

    // MARK: - New jobs

    /// Checks a submission and queues its job.
    func create(
        _ submission: JobSubmission,
        _ place: JobQueue.Place,
        idempotencyKey: String?
    ) throws -> JobQueue.Snapshot {
        let fields = try JobFields(json: submission.fields)
        let files = try submission.files.map { role, file in (role, try inspect(role, file.path)) }
        var request = JobRequest(
            kind: .restyle,
            model: restyler.name,
            prompt: try Self.checked(fields.prompt)
        )
        (request.kind, request.model) = try choose(fields.model, files)
        request.roles = files.map(\.0)
        try fill(&request, fields)
        var job = VideoJob(request: request, digest: submission.digest)
        job.idempotencyKey = idempotencyKey
        try check(request, files.map(\.1), &job)
        for (index, (_, file)) in submission.files.enumerated() {
            try file.move(to: queue.store.input(job.id, index))
        }
        return try add(job, place)
    }

    /// Queues a job like another one, with another prompt.
    func remix(
        _ id: String,
        prompt: String,
        _ place: JobQueue.Place,
        idempotencyKey: String?
    ) throws -> JobQueue.Snapshot {
        guard let source = queue.job(id)?.job else { throw APIError.noSuchVideo }
        guard source.status == .completed else {
            throw APIError(.conflict, "video_not_ready", "Only a completed video can be remixed.")
        }
        var request = source.request
        request.prompt = try Self.checked(prompt)
        request.laterPrompts = []
        var job = VideoJob(request: request, digest: "\(id):\(request.prompt)")
        job.remixedFrom = id
        job.size = source.size
        job.idempotencyKey = idempotencyKey
        try queue.store.linkInputs(of: source, to: job.id)
        return try add(job, place)
    }

    private func add(_ job: VideoJob, _ place: JobQueue.Place) throws -> JobQueue.Snapshot {
        let count = job.request.roles.count
        do {
            let added = try queue.add(job, place)
            // An earlier request had the same key: its job has files of its own.
            if added.job.id != job.id { queue.store.removeInputs(of: job.id, count: count) }
            return added
        } catch let error as APIError {
            queue.store.removeInputs(of: job.id, count: count)
            throw error
        } catch {
            queue.store.removeInputs(of: job.id, count: count)
            log.error("A job could not be stored: \(error)")
            throw APIError(
                .insufficientStorage,
                "insufficient_storage",
                "The server cannot store the job; its disk may be full."
            )
        }
    }

    // MARK: - Checks

    /// What a file is, found out by the process that decodes it.
    private func inspect(_ role: JobRequest.Role, _ path: String) throws -> UploadInfo {
        var task = DecodeWorker.Task()
        task.limits = limits.decoding
        task.onlyInspects = true
        do {
            return try UploadDecoder(path, task).info
        } catch {
            let failure = JobFailure(error)
            if failure.code == .failed { log.error("An upload could not be inspected: \(error)") }
            throw failure.response(parameter: role.rawValue)
        }
    }

    private static func checked(_ prompt: String) throws -> String {
        guard !cleanPrompt(prompt).isEmpty else {
            throw APIError.invalid("prompt", "is empty; describe what the video should look like")
        }
        guard prompt.utf8.count <= 32_000 else {
            throw APIError.invalid("prompt", "has more than 32000 bytes")
        }
        return prompt
    }

    /// The model of a job: the one that was named, or the one that takes such files.
    private func choose(
        _ name: String?,
        _ files: [(role: JobRequest.Role, info: UploadInfo)]
    ) throws -> (kind: JobRequest.Kind, model: String) {
        if let name {
            guard let known = models.first(where: { $0.name == name }) else {
                let names = models.map(\.name).joined(separator: ", ")
                throw APIError(
                    .notFound,
                    "model_not_found",
                    "There is no such model; this server has: \(names).",
                    parameter: "model"
                )
            }
            return (known.kind, known.name)
        }
        let isVideo = files.contains { $0.role == .input && !$0.info.isPicture }
        guard let generator, !isVideo else { return (.restyle, restyler.name) }
        return (.generate, generator.model.name)
    }

    private func fill(_ request: inout JobRequest, _ fields: JobFields) throws {
        func require(_ holds: Bool, _ name: String, _ problem: String) throws {
            guard holds else { throw APIError.invalid(name, problem) }
        }
        let longest = limits.seconds
        if let seconds = fields.seconds {
            try require(
                seconds > 0 && seconds <= longest,
                "seconds",
                "must be above 0 and at most \(Int(longest))"
            )
        }
        for later in fields.laterPrompts {
            try require(later.frame >= 0, "prompt_at", "frames start at 0")
            _ = try Self.checked(later.prompt)
        }
        (request.seconds, request.size) = (fields.seconds, fields.size)
        (request.frameRate, request.maxFrames) = (fields.frameRate, fields.maxFrames)
        (request.laterPrompts, request.controlScale) = (
            fields.laterPrompts, fields.controlScale ?? 1
        )
        switch request.kind {
        case .restyle:
            try require(
                fields.controlScale == nil,
                "control_scale",
                "is only for models that generate videos"
            )
            request.stream = try fields.settings(or: request.stream)
        case .generate: request.generation = try fields.settings(or: request.generation)
        }
    }

    /// Checks what depends on the model, and fills in the properties of the video that are known by then.
    private func check(
        _ request: JobRequest,
        _ files: [UploadInfo],
        _ job: inout VideoJob
    ) throws {
        switch request.kind {
        case .restyle:
            guard request.roles == [.input] else {
                throw APIError.invalid(
                    "input_reference",
                    request.roles.isEmpty
                        ? "is missing; this model restyles a video or a picture"
                        : "is the only file that this model takes"
                )
            }
            let plan = try RestylePlan(
                request,
                files[0],
                restyler,
                limits,
                outputPixels: outputPixels
            )
            (job.size, job.frames) = (plan.size, plan.expectedFrames)
            job.frameRate = plan.frameRate.value
        case .generate:
            job = try checkedGeneration(job, files)
        }
    }

    private func checkedGeneration(_ job: VideoJob, _ files: [UploadInfo]) throws -> VideoJob {
        guard let generator else { throw APIError.internalError }
        let wrong = zip(job.request.roles, files).first { role, info in
            info.isPicture == [.control, .mask].contains(role)
        }
        if let (role, info) = wrong {
            throw APIError.invalid(
                role.rawValue,
                info.isPicture ? "must be a video" : "must be a picture for this model"
            )
        }
        let request = try GenerationFields.resolved(job.request, generator)
        var checked = VideoJob(id: job.id, request: request, digest: job.requestDigest)
        checked.idempotencyKey = job.idempotencyKey
        if files.isEmpty {
            var plain = GenerationRequest(prompt: request.prompt)
            plain.settings = request.generation
            do {
                let plan = try GenerationPlan(plain, generator.model)
                checked.size = JobRequest.Size(width: plan.width, height: plan.height)
                (checked.frames, checked.frameRate) = (plan.frames, Double(plan.framesPerSecond))
                checked.frameRate = request.frameRate ?? checked.frameRate
            } catch let error as SwanError {
                throw JobFailure(error).response(parameter: "settings")
            }
        }
        return checked
    }
}

/// Combines a generation's settings with the fields that all kinds of job have.
enum GenerationFields {
    static func resolved(_ request: JobRequest, _ generator: VideoModel) throws -> JobRequest {
        var request = request
        guard request.laterPrompts.isEmpty else {
            throw APIError.invalid("prompt_at", "is only for models that restyle videos")
        }
        if let size = request.size {
            guard request.generation.size == nil, request.generation.area == nil else {
                throw APIError.invalid("size", "is given in the settings, too")
            }
            request.generation.size = .init(width: size.width, height: size.height)
        }
        let rate =
            request.frameRate ?? Double(generator.model.variant.defaults.framesPerSecond)
        if let frames = frames(request, rate) {
            guard request.generation.frames == nil else {
                throw APIError.invalid("seconds", "the settings have a number of frames, too")
            }
            request.generation.frames = frames
        }
        do {
            try request.generation.check()
        } catch {
            throw JobFailure(error).response(parameter: "settings")
        }
        return request
    }

    /// The number of frames that the fields ask for; nil if they leave it to the model. Wan's videos have 4 n + 1
    /// frames: the nearest such number to `seconds`, and no more than `max_frames`.
    static func frames(_ request: JobRequest, _ rate: Double) -> Int? {
        let wanted = request.seconds.map { (Int(($0 * rate).rounded()) + 1) / 4 * 4 + 1 }
        let most = request.maxFrames.map { max(1, ($0 - 1) / 4 * 4 + 1) }
        return [wanted, most].compactMap { $0 }.min()
    }
}
