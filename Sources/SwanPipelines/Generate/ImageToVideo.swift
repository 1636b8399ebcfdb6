public import Logging
import SwanCheckpoints
public import SwanMedia
import SwanSystem

/// Generates videos that begin with an image and optionally end with another.
public struct ImageToVideo: Sendable {
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
        guard model.variant.takesImage else {
            throw SwanError(
                .invalidRequest,
                "\(checkpoint) is \(model.variant.task.named) model; use TextToVideo"
            )
        }
        generator = VideoGenerator(model, log: log)
    }

    /// Generates a video that begins with `image`.
    ///
    /// - Returns: Steps, previews and frames as they are ready, then the result.
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
        request.settings.seed = seed
        configure(&request)
        return generator.events(request)
    }
}
