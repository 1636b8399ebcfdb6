public import Logging
import SwanCheckpoints
public import SwanMedia
import SwanSystem

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
