import SwanCheckpoints
import SwanMedia
import SwanModels
import SwanSystem
package import Torch

/// Encodes the beginnings of videos as a model's latents, for training.
package final class ClipEncoder {
    /// The shape of a result, [F, C, h, w].
    package let shape: [Int]
    private let model: GenerationModel
    private let plan: GenerationPlan
    private lazy var autoencoder = Result { try model.autoencoder() }

    /// Checks the size; no weights are read.
    ///
    /// - Parameters:
    ///   - size: The size in pixels, which frames are resized to cover; nil for the model's.
    ///   - frames: The number of frames, 4 n + 1; nil for the model's.
    package init(
        _ model: GenerationModel,
        size: GenerationSettings.PictureSize?,
        frames: Int?
    ) throws {
        guard [.textToVideo, .textOrImageToVideo].contains(model.variant.task) else {
            throw SwanError(
                .invalidRequest,
                "\(model.name) is \(model.variant.task.named) model; latents are those of a "
                    + "text-to-video model"
            )
        }
        var request = GenerationRequest(prompt: "any")
        (request.settings.size, request.settings.frames) = (size, frames)
        plan = try GenerationPlan(request, model)
        let latents = plan.latentShape
        shape = [latents[2], latents[1], latents[3], latents[4]]
        self.model = model
    }

    /// Encodes the first frames of a video at the model's frame rate: the normalized means of the
    /// posterior, [F, C, h, w] in float32 on the CPU; nil if the video is shorter.
    package func latents(of path: String) throws -> Tensor? {
        let rate = Rational(plan.framesPerSecond)
        let reader = try VideoReader(path: path, options: VideoReader.Options(frameRate: rate))
        var frames: [VideoFrame] = []
        while frames.count < plan.frames, let frame = try reader.nextFrame() {
            frames.append(try frame.covering(width: plan.width, height: plan.height))
        }
        guard frames.count == plan.frames else { return nil }
        let latents = try autoencoder.get().latents(of: plan.video(frames, model.device))
        try model.requireFinite(latents, .vae, "the latents of \(path)")
        return try latents.squeezed(0).permuted(1, 0, 2, 3).to(.cpu, .float32).contiguous()
    }
}
