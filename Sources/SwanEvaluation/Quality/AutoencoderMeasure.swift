import SwanModels
import SwanPipelines
import SwanSystem
import SwanTiny
import SwanTraining
import Torch

/// Measures a stream's autoencoder alone: the loss of a streaming encode and decode.
struct AutoencoderMeasure {
    /// The minimum PSNR for any footage, in dB.
    static let leastPSNR = 29.0

    let model: StreamModel
    /// The number of frames per chunk; the first chunk has one more.
    let chunkFrames: Int

    /// Compares the autoencoder with two linear codes that have the same number of coefficients.
    ///
    /// One is fitted to the other clips, as a code for unknown footage has to be. The other is fitted to
    /// this very clip, which gives the best result that any linear code can reach.
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
        var figures = [Figure("PSNR", network, "dB", .atLeast(Self.leastPSNR))]
        if !others.isEmpty {
            let given = try linear(others.map(\.pixels))
            figures += [
                Figure("over a linear code", network - given, "dB", .atLeast(0)),
                Figure("linear code of the other clips", given, "dB"),
            ]
        }
        figures.append(Figure("best linear code of this clip", try linear([frames]), "dB"))
        return QualityRow(measure: .vae, clip: clip.name, figures: figures)
    }

    /// Returns the mean squared error of frames [1 + n chunkFrames, 3, H, W], uint8, where 1 is the error of
    /// white in place of black.
    func squaredError(of frames: Tensor) throws(SwanError) -> Double {
        let (encoder, decoder) = try (model.vae.makeEncoder(), model.vae.makeDecoder())
        let count = frames.size(0)
        // An encoder with lookahead sees the last frame repeated, as at the end of a stream.
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
