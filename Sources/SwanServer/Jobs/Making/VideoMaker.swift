import Logging
import SwanPipelines
import Torch

/// Makes the videos of jobs, one after the other.
struct VideoMaker: Sendable {
    let store: JobStore
    let limits: JobLimits
    let restyler: StreamModel
    let generator: VideoModel?
    let budget: ComputeBudget
    let outputPixels: Int
    let log: Logger

    /// Makes a job's video and the pictures of it.
    func run(_ job: VideoJob, _ control: JobControl) throws -> JobResult {
        let output = store.path(job, .video)
        let result: JobResult
        switch job.request.kind {
        case .restyle: result = try restyle(job, output, control)
        case .generate: result = try generate(job, output, control)
        }
        try control.check()
        try Previews.write(of: job, result, in: store, control)
        return result
    }

    private func restyle(
        _ job: VideoJob,
        _ output: String,
        _ control: JobControl
    ) throws -> JobResult {
        guard job.request.model == restyler.name else { throw otherModel(job) }
        var task = DecodeWorker.Task()
        task.limits = limits.decoding
        task.frameRate = job.request.frameRate
        let decoder = try UploadDecoder(store.input(job.id, 0), task)
        defer { decoder.close() }
        let plan = try RestylePlan(
            job.request,
            decoder.info,
            restyler,
            limits,
            outputPixels: outputPixels
        )
        return try RestyleWork(model: restyler, budget: budget, plan: plan, log: log)
            .run(job.request, decoder, output: output, control)
    }

    private func generate(
        _ job: VideoJob,
        _ output: String,
        _ control: JobControl
    ) throws -> JobResult {
        guard let generator, job.request.model == generator.model.name else {
            throw otherModel(job)
        }
        return try GenerateWork(model: generator, budget: budget, log: log)
            .run(job.request, output: output, control) { index, task in
                var task = task
                task.limits = limits.decoding
                return try UploadDecoder(store.input(job.id, index), task)
            }
    }

    /// The job is from a time when the server had another model.
    private func otherModel(_ job: VideoJob) -> JobFailure {
        JobFailure(.invalid, "The server no longer has the model of this job.")
    }
}
