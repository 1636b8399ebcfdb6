import SwanModels
import SwanSystem
import Torch

/// Latents as they are, as frames: three channels, enlarged. It stands for an autoencoder where a
/// transformer alone is measured.
struct LatentPictures: VideoAutoencoder, VideoDecoder {
    /// The pixels and frames of a latent, as in Wan's autoencoder.
    static let stride = 8
    static let frames = 4

    let latentChannels: Int
    let device: Device

    var spatialStride: Int { Self.stride }
    var temporalStride: Int { Self.frames }
    var dtype: DType { .float32 }

    /// Each latent frame as one frame: [B, z, F, h, w] -> [B, 3, F, 8 h, 8 w].
    func decode(_ latents: Tensor) throws(SwanError) -> Tensor {
        let x = try latents.narrowed(1, 0, 3).clamped(min: -1, max: 1)
        let (b, f, h, w) = (x.size(0), x.size(2), x.size(3), x.size(4))
        let (rows, columns) = (Self.stride, Self.stride)
        return try x.reshaped(b, 3, f, h, 1, w, 1).expanded([b, 3, f, h, rows, w, columns])
            .reshaped(b, 3, f, h * rows, w * columns)
    }

    func video(of latents: Tensor) throws(SwanError) -> Tensor { try decode(latents) }

    func makeDecoder() throws(SwanError) -> any VideoDecoder { self }

    func latents(of video: Tensor) throws(SwanError) -> Tensor { throw Self.cannotEncode }

    func makeEncoder(normalizing: Bool) throws(SwanError) -> any VideoEncoder {
        throw Self.cannotEncode
    }

    private static let cannotEncode = SwanError(
        .unsupported,
        "a stream of latents has no frames to encode"
    )
}
