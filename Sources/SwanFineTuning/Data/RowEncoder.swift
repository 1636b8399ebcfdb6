import SwanDatasets
import SwanDistillation
import SwanMedia
import SwanModels
import SwanPipelines
import SwanSystem
import Torch

/// Encodes videos and captions as rows of a model. Its networks are opened when they are needed.
final class RowEncoder {
    private let model: TunedModel
    private let device: Device
    private lazy var prompts = Result { try model.promptEncoder(device) }
    private lazy var videos = Result { try model.videoEncoder(device) }
    private lazy var pictures = Result { try model.imageEncoder(device) }

    init(_ model: TunedModel, _ device: Device) {
        self.model = model
        self.device = device
    }

    /// The embeddings of a text [T, textDim] in float32 on the CPU.
    func text(_ prompt: String) throws -> Tensor {
        try prompts.get()([prompt]).squeezed(0).to(.cpu)
    }

    /// Encodes the first frames of a video; nil if it has too few.
    func row(
        _ video: CaptionedVideos.Video,
        _ bucket: FineTuningSettings.Bucket
    ) throws -> TuningRow? {
        let frames = try self.frames(video.path, bucket)
        guard frames.count == bucket.frames else { return nil }
        let text = try text(video.caption)
        return try withoutGradients {
            let encoder = try videos.get()
            let pixels = try concatenated(
                frames.map { frame throws(SwanError) in
                    try ImageCondition.picture(frame, on: device).unsqueezed(2)
                },
                dim: 2
            )
            var row = TuningRow(latents: try Self.stored(encoder.latents(of: pixels)), text: text)
            guard case .imageToVideo(let hasLast) = model.task else { return row }
            let given = hasLast ? [0, frames.count - 1] : [0]
            let shown = try given.map { try pixels.narrowed(2, $0, 1) }
            let condition = try ImageCondition.latents(
                first: shown[0],
                last: hasLast ? shown[1] : nil,
                frames: frames.count,
                encoder
            )
            row.pictures = try Self.stored(condition)
            if let clip = try pictures.get() {
                let features = try shown.map { try clip($0.squeezed(2)) }
                row.features = try Self.stored(concatenated(features, dim: 1))
            }
            return row
        }
    }

    /// The only row of a batch, in float32 on the CPU.
    private static func stored(_ batch: Tensor) throws(SwanError) -> Tensor {
        try batch.squeezed(0).to(.cpu, .float32).contiguous()
    }

    private func frames(
        _ path: String,
        _ bucket: FineTuningSettings.Bucket
    ) throws -> [VideoFrame] {
        let rate = Rational(model.framesPerSecond)
        let reader = try VideoReader(path: path, options: .init(frameRate: rate))
        var frames: [VideoFrame] = []
        while frames.count < bucket.frames, let frame = try reader.nextFrame() {
            frames.append(try frame.covering(width: bucket.width, height: bucket.height))
        }
        return frames
    }
}
