import Foundation
import Logging
import SwanCheckpoints
import SwanMedia
import SwanSystem
import SwanThreads
import Torch

/// A job whose model is a student for pictures: writes one picture for each prompt and seed.
final class StudentPictures {
    private let request: FileGenerationRequest
    private let painter: StudentPainter
    private let log: Logger
    private let stop: CancellationFlag
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
        (self.request, self.log, self.stop) = (request, log, stop)
        try StudentRequestCheck(request).check()
        painter = try StudentPainter(student, request.options, request.generation.settings)
    }

    /// Makes the pictures.
    func run(onProgress: (GenerationProgress) throws -> Void) throws -> GenerationSummary {
        let jobs = try request.jobs()
        try request.files.check()
        for job in jobs { try OutputPath.requireWritable(job.output) }
        let began = ContinuousClock.now
        var summary = GenerationSummary()
        do {
            try onProgress(GenerationProgress(video: 1, of: jobs.count))
            let prompts = Set(jobs.map(\.request.prompt)).sorted()
            let texts = try timed(\.text) { try painter.means(of: prompts, log, stop) }
            try timed(\.load) { try painter.load() }
            for (index, job) in jobs.enumerated() {
                guard let text = texts[job.request.prompt] else { continue }
                try stop.check()
                var progress = GenerationProgress(video: index + 1, of: jobs.count)
                let start = ContinuousClock.now
                try write(job, text) { event in
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
        } catch is CancellationError {
            summary.wasInterrupted = true
        }
        describe(&summary, seconds: (ContinuousClock.now - began).seconds)
        return summary
    }

    private func write(
        _ job: FileGenerationRequest.Job,
        _ text: Tensor,
        _ handle: (GenerationEvent) throws -> Void
    ) throws {
        let began = ContinuousClock.now
        var last = began
        let count = painter.sampling.steps
        let latents = try timed(\.denoise) {
            try painter.latents(text, seed: job.request.settings.seed) { step in
                try stop.check()
                let now = ContinuousClock.now
                steps.append((now - last).seconds)
                last = now
                try handle(.step(step, of: count, seconds: (now - began).seconds))
            }
        }
        let picture = try timed(\.vaeDecode) { try painter.picture(of: latents) }
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
        let (size, sampling) = (painter.size, painter.sampling)
        summary.model = URL(fileURLWithPath: request.model).lastPathComponent
        summary.task = "text-to-picture"
        (summary.width, summary.height, summary.frames) = (size.width, size.height, 1)
        (summary.steps, summary.shift) = (sampling.steps, sampling.shift)
        summary.solver = sampling.isParity ? "ddim" : "euler"
        summary.guidance = 1
        summary.device = "\(painter.device)"
        summary.dtype = "\(painter.dtype)"
        summary.stages = stages
        summary.seconds = seconds
        summary.secondsPerStep = steps.isEmpty ? nil : steps.sorted()[steps.count / 2]
        summary.peakMemoryBytes = ProcessFacts.peakMemoryBytes
        summary.threads = Engine.threads
    }
}
