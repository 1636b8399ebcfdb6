public import Logging
import SwanCheckpoints
import SwanSystem

/// Generates videos from text.
///
///     let pipeline = try TextToVideo(checkpoint: "Wan2.1-T2V-1.3B")
///     for try await event in pipeline.generate("a fox in the snow", seed: 7) {
///         if case .result(let video) = event { try video.write(to: "fox.mp4") }
///     }
public struct TextToVideo: Sendable {
    /// The underlying generator.
    public let generator: VideoGenerator

    /// Inspects a checkpoint; weights are read when a video is generated.
    public init(
        checkpoint: String,
        options: GenerationOptions = GenerationOptions(),
        log: Logger = Logger(label: "swan")
    ) throws {
        let model = try GenerationModel(checkpoint, options: options)
        for note in model.loraNotes { log.warning("\(note)") }
        guard !model.variant.needsImage else {
            throw SwanError(
                .invalidRequest,
                "\(checkpoint) is \(model.variant.task.named) model; use ImageToVideo"
            )
        }
        generator = VideoGenerator(model, log: log)
    }

    /// Generates a video from a prompt.
    ///
    /// - Returns: Steps, previews and frames as they are ready, then the result.
    public func generate(
        _ prompt: String,
        seed: UInt64 = 0,
        configure: (inout GenerationRequest) -> Void = { _ in }
    ) -> AsyncThrowingStream<GenerationEvent, any Error> {
        var request = GenerationRequest(prompt: prompt)
        request.settings.seed = seed
        configure(&request)
        return generator.events(request)
    }
}
