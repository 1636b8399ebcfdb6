public import Logging
import SwanCheckpoints
import SwanSystem

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
