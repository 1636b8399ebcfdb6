package import SwanCheckpoints
import SwanMedia
import SwanSchedulers
import SwanSystem
import Torch

extension FileGenerationRequest {
    /// What the job would do. Reads the model's small files; writes nothing, and throws what would keep the job
    /// from starting.
    package func outline() throws -> JobOutline {
        try files.check()
        let jobs = try jobs()
        var outline = JobOutline()
        outline.add("command", "generate")
        outline.add("model", model)
        outline.add("loras", .list(options.loras.map(\.path)))
        outline.add("videos", .whole(jobs.count))
        outline.add("outputs", .list(jobs.map { $0.output == "-" ? "standard output" : $0.output }))
        outline.add("prompts", .list([generation.prompt] + morePrompts))
        if try LiteStudentFolder(model) != nil {
            outline.add("task", "text to picture")
            outline.add("seed", .seed(generation.settings.seed))
            return outline
        }
        let opened = try GenerationModel(model, options: options)
        for (index, job) in jobs.enumerated() {
            let plan = try GenerationPlan(job.request, opened)
            try check(job, plan)
            if index == 0 { add(plan, opened, to: &outline) }
        }
        return outline
    }

    /// Throws if the file of a video could not be opened.
    private func check(_ job: Job, _ plan: GenerationPlan) throws {
        try TrialOutput.check(job.output) { path in
            let rate = frameRate ?? Double(plan.framesPerSecond)
            guard let rate = Rational(rate) else {
                throw SwanError(.invalidRequest, "\(rate) is not a valid frame rate")
            }
            do throws(SwanError) {
                try VideoWriter(
                    path: path,
                    width: plan.width,
                    height: plan.height,
                    frameRate: rate,
                    frames: plan.frames
                ).cancel()
            } catch {
                guard error.code == .unsupported else { throw error }
                throw SwanError(.invalidRequest, error.message, cause: error)
            }
        }
    }

    private func add(
        _ plan: GenerationPlan,
        _ opened: GenerationModel,
        to outline: inout JobOutline
    ) {
        outline.add("task", opened.variant.task.rawValue)
        outline.add("size", "\(plan.width)x\(plan.height)")
        outline.add("frames", .whole(plan.frames))
        outline.add("frame_rate", .number(frameRate ?? Double(plan.framesPerSecond)))
        outline.add("steps", .whole(plan.steps))
        let isFewStep = generation.settings.timesteps != nil
        outline.add("solver", isFewStep ? "few-step" : plan.solver.rawValue)
        outline.add("shift", .number(plan.shift))
        outline.add("guidance", .number(plan.highNoiseGuidance))
        outline.add("seed", .seed(generation.settings.seed))
        outline.add("device", "\(opened.device)")
        outline.add("dtype", "\(opened.dtype)")
        outline.add("threads", .whole(Engine.threads))
        let weights = ModelWeights.bytes(model, opened.dtype)
        if let weights { outline.add("weights_bytes", bytes: weights) }
        let isGuided = plan.prompts.count > 1
        let batches = generation.settings.batchesGuidance ?? false
        outline.add(
            "memory_besides_weights_bytes",
            bytes: GenerationMemory(opened, isGuided: isGuided, batches: batches).peak(
                width: plan.width,
                height: plan.height,
                latentFrames: plan.latentShape[2]
            )
        )
        outline.add(
            "estimated_time_seconds",
            .unknown("'swan bench speed generate' measures this machine")
        )
    }
}
