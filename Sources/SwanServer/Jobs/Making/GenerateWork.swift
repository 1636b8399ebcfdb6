import Foundation
import Logging
import SwanCheckpoints
import SwanMedia
package import SwanPipelines
import Torch

/// Generates a video from text and pictures, as `swan generate` does.
struct GenerateWork {
    /// The checkpoint's folder or file, and how it is opened.
    let model: VideoModel
    let budget: ComputeBudget
    let log: Logger

    /// Makes the video of a job.
    ///
    /// - Parameter decoder: Opens an uploaded file by its index.
    func run(
        _ request: JobRequest,
        output path: String,
        _ control: JobControl,
        decoder: (Int, DecodeWorker.Task) throws -> UploadDecoder
    ) throws -> JobResult {
        var job = FileGenerationRequest(model: model.path, prompt: request.prompt, output: path)
        job.options = model.options
        job.frameRate = request.frameRate
        job.generation.settings = request.generation
        try Self.addInputs(request, to: &job.generation, decoder)
        try control.check()
        let generation = FileGeneration(job, log: log)
        control.whenStopped { generation.requestStop() }
        let summary = try budget.run {
            try generation.run { progress in
                control.advance(to: Self.share(progress))
            }
        }
        guard !summary.wasInterrupted else { throw CancellationError() }
        return JobResult(
            size: JobRequest.Size(width: summary.width, height: summary.height),
            frames: summary.frames,
            frameRate: summary.framesPerSecond
        )
    }

    /// How much of the work is done: most of it is denoising.
    private static func share(_ progress: GenerationProgress) -> Double {
        let part = Double(progress.done) / Double(max(progress.total, 1))
        return switch progress.stage {
        case .loading(.textEncoder): 0.01
        case .loading: 0.04
        case .denoising: 0.05 + 0.8 * part
        case .decoding: 0.85 + 0.13 * part
        }
    }

    // MARK: - Files

    private static func addInputs(
        _ request: JobRequest,
        to generation: inout GenerationRequest,
        _ decoder: (Int, DecodeWorker.Task) throws -> UploadDecoder
    ) throws {
        var control = GenerationRequest.Control()
        control.scale = request.controlScale
        for (index, role) in request.roles.enumerated() {
            switch role {
            case .input: generation.image = try picture(index, decoder)
            case .lastImage: generation.lastImage = try picture(index, decoder)
            case .reference: control.references.append(try picture(index, decoder))
            case .control: control.video = try video(index, request, decoder)
            case .mask: control.masks = try video(index, request, decoder)
            }
        }
        if !control.video.isEmpty || !control.references.isEmpty { generation.control = control }
    }

    private static func picture(
        _ index: Int,
        _ decoder: (Int, DecodeWorker.Task) throws -> UploadDecoder
    ) throws -> VideoFrame {
        guard let frame = try decoder(index, DecodeWorker.Task()).next() else {
            throw JobFailure(.damaged, "A picture has no pixels.")
        }
        return frame
    }

    /// The first frames of a control video, at the rate that such models were trained on.
    private static func video(
        _ index: Int,
        _ request: JobRequest,
        _ decoder: (Int, DecodeWorker.Task) throws -> UploadDecoder
    ) throws -> [VideoFrame] {
        var task = DecodeWorker.Task()
        task.frameRate = Double(GenerationRequest.Control.framesPerSecond)
        let most = request.generation.frames ?? GenerationRequest.Control.mostFrames
        let reader = try decoder(index, task)
        defer { reader.close() }
        var frames: [VideoFrame] = []
        while frames.count < most, let frame = try reader.next() { frames.append(frame) }
        return frames
    }
}

/// A Wan checkpoint that makes videos from text and pictures.
package struct VideoModel: Sendable {
    /// The path of its folder or file.
    package let path: String
    /// How its parts are opened.
    package let options: GenerationOptions
    /// What it is.
    package let model: GenerationModel

    /// Inspects a checkpoint; no weights are read.
    package init(_ path: String, options: GenerationOptions) throws {
        self.path = path
        self.options = options
        model = try GenerationModel(path, options: options)
    }
}
