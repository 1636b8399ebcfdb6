import SwanModels
import SwanPipelines
import SwanSystem
import SwanTiny
import SwanTraining
import Torch

/// The autoencoder of a stream alone: what is lost on the way through its streaming halves.
struct AutoencoderMeasure {
    /// What a network has to reach whatever the footage, in dB.
    static let leastPSNR = 29.0

    let model: StreamModel
    /// Frames of a chunk; the first has one more.
    let chunkFrames: Int

    /// The autoencoder beside the linear codes of as many numbers: one fitted to the other clips, as
    /// a code has to be that does not know what it will be given, and the best for this very clip,
    /// which no linear code can pass.
    func row(_ clip: QualityClip, others: [QualityClip]) throws -> QualityRow {
        let frames = try clip.pixels.narrowed(
            0,
            0,
            1 + (clip.count - 1) / chunkFrames * chunkFrames
        )
        let network = PictureQuality.psnr(squaredError: try squaredError(of: frames))
        let size = PatchCode.Size(
            frames: model.vae.temporalStride,
            side: model.vae.spatialStride,
            channels: model.vae.latentChannels
        )
        func linear(_ clips: [Tensor]) throws -> Double {
            let code = try PatchCode(of: clips, size)
            return PictureQuality.psnr(squaredError: try code.squaredError(of: frames))
        }
        var figures = [QualityFigure("PSNR", network, "dB", .atLeast(Self.leastPSNR))]
        if !others.isEmpty {
            let given = try linear(others.map(\.pixels))
            figures += [
                QualityFigure("over a linear code", network - given, "dB", .atLeast(0)),
                QualityFigure("linear code of the other clips", given, "dB"),
            ]
        }
        figures.append(QualityFigure("best linear code of this clip", try linear([frames]), "dB"))
        return QualityRow(measure: .vae, clip: clip.name, figures: figures)
    }

    /// The mean squared error of frames [1 + n chunkFrames, 3, H, W], uint8; 1 is white for black.
    func squaredError(of frames: Tensor) throws(SwanError) -> Double {
        let (encoder, decoder) = try (model.vae.makeEncoder(), model.vae.makeDecoder())
        let count = frames.size(0)
        // An encoder that looks ahead sees the last frame stand still, as at the end of a stream.
        let ahead = try frames.sliced(0, from: -1).repeated([model.vae.lookahead, 1, 1, 1])
        let shown = try model.vae.lookahead > 0 ? concatenated([frames, ahead]) : frames
        var sum = 0.0
        var (read, given) = (0, 0)
        while given < count {
            let length = read == 0 ? 1 + chunkFrames + model.vae.lookahead : chunkFrames
            let part = try shown.narrowed(0, read, min(length, shown.size(0) - read))
            read += part.size(0)
            let video = try PixelMath.values(part).transposed(0, 1).unsqueezed(0) * 2 - 1
            let latents = try encoder.encode(video.to(model.device, model.dtype))
            let decoded = try decoder.decode(latents).to(.cpu, .float32).selected(0, 0)
            let output = try PixelMath.bytes((decoded * 0.5 + 0.5).transposed(0, 1))
            let target = try frames.narrowed(0, given, output.size(0))
            let error = try PictureQuality.squaredError(
                PixelMath.values(output),
                PixelMath.values(target)
            )
            sum += error * Double(output.size(0))
            given += output.size(0)
        }
        return sum / Double(count)
    }
}
