import Logging
import SwanMedia
import Torch

/// Makes videos from text.
///
///     let pipeline = try await TextToVideo(checkpoint: "Wan2.1-T2V-1.3B")
///     for try await event in pipeline.generate("a fox in the snow", seed: 7) {
///         if case .result(let video) = event { try video.write(to: "fox.mp4") }
///     }
public struct TextToVideo: Sendable {
    /// What makes the videos.
    public let generator: VideoGenerator

    /// Looks into a checkpoint; weights are read when a video is made.
    public init(
        checkpoint: String,
        options: GenerationOptions = GenerationOptions(),
        log: Logger = Logger(label: "swan")
    ) async throws {
        let model = try GenerationModel(checkpoint, options: options)
        guard !model.variant.needsImage else {
            throw SwanError(
                .invalidRequest,
                "\(checkpoint) is \(model.variant.task.named) model: use ImageToVideo"
            )
        }
        generator = VideoGenerator(model, log: log)
    }

    /// A video of a prompt: steps, previews and frames as they come, and at the end the result.
    public func generate(
        _ prompt: String,
        seed: UInt64 = 0,
        configure: (inout GenerationRequest) -> Void = { _ in }
    ) -> AsyncThrowingStream<GenerationEvent, any Error> {
        var request = GenerationRequest(prompt: prompt)
        request.seed = seed
        configure(&request)
        return generator.events(request)
    }
}

/// Makes videos that begin with a picture, and perhaps end with another.
public struct ImageToVideo: Sendable {
    /// What makes the videos.
    public let generator: VideoGenerator

    /// Looks into a checkpoint; weights are read when a video is made.
    public init(
        checkpoint: String,
        options: GenerationOptions = GenerationOptions(),
        log: Logger = Logger(label: "swan")
    ) async throws {
        let model = try GenerationModel(checkpoint, options: options)
        guard model.variant.takesImage else {
            throw SwanError(
                .invalidRequest,
                "\(checkpoint) is \(model.variant.task.named) model: use TextToVideo"
            )
        }
        generator = VideoGenerator(model, log: log)
    }

    /// A video that begins with `image`: steps, previews and frames as they come, then the result.
    public func generate(
        _ prompt: String,
        image: VideoFrame,
        lastImage: VideoFrame? = nil,
        seed: UInt64 = 0,
        configure: (inout GenerationRequest) -> Void = { _ in }
    ) -> AsyncThrowingStream<GenerationEvent, any Error> {
        var request = GenerationRequest(prompt: prompt)
        request.image = image
        request.lastImage = lastImage
        request.seed = seed
        configure(&request)
        return generator.events(request)
    }
}

extension VideoGenerator {
    /// The events of making a video, the last of which is the result with all frames.
    ///
    /// The work is done on a thread of its own. Whoever stops listening ends it within a step.
    public func events(
        _ request: GenerationRequest
    ) -> AsyncThrowingStream<GenerationEvent, any Error> {
        AsyncThrowingStream { continuation in
            let stop = Stop()
            continuation.onTermination = { _ in stop.request() }
            WorkerThread.run("swan.generate") {
                do {
                    var frames: [VideoFrame] = []
                    var video = try self.generate(request, stop: stop) { event in
                        if case .frames(let part, _) = event { frames += part }
                        continuation.yield(event)
                    }
                    video.frames = frames
                    continuation.yield(.result(video))
                    continuation.finish()
                } catch {
                    continuation.finish(throwing: error)
                }
            }
        }
    }
}

extension GeneratedVideo {
    /// Writes the video, by the extension of `path`, under that name only when it is complete.
    public func write(to path: String) throws {
        guard let first = frames.first, let rate = Rational(framesPerSecond) else {
            throw SwanError(.invalidRequest, "\(path): the video has no frames to write")
        }
        let writer = try VideoWriter(
            path: path,
            width: first.width,
            height: first.height,
            frameRate: rate
        )
        for frame in frames { try writer.append(frame) }
        try writer.finish()
    }
}
