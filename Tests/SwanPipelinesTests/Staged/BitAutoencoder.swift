import SwanModels
import SwanSystem
import Synchronization
import Torch

/// An autoencoder whose frames show the bits of its latents: frames are equal only if latents are.
struct BitAutoencoder: VideoAutoencoder {
    let spatialStride = 8
    let temporalStride = 4
    let latentChannels = 8
    let dtype = DType.float32
    let device = Device.cpu

    func latents(of video: Tensor) throws(SwanError) -> Tensor {
        let (t, h, w) = (video.size(2), video.size(3) / 8, video.size(4) / 8)
        let first = t % 4 == 1 ? 1 : 0
        let frames = (0..<(first + t / 4)).map { max(0, 4 * $0 - 3 * first) }
        let means = try video.reshaped(1, 3, t, h, 8, w, 8).mean([4, 6])  // [1, 3, T, h, w]
        let index = try Tensor(frames, [frames.count])
        let x = try means.indexSelected(2, index)
        return try concatenated([x, x * 0.5, x.narrowed(1, 0, 2) * -1], dim: 1)
    }

    func video(of latents: Tensor) throws(SwanError) -> Tensor {
        try Decoder(isFirst: true).decode(latents)
    }

    func makeEncoder(normalizing: Bool) throws(SwanError) -> any VideoEncoder { Encoder(vae: self) }

    func makeDecoder() throws(SwanError) -> any VideoDecoder { Decoder(isFirst: true) }

    private struct Encoder: VideoEncoder {
        let vae: BitAutoencoder

        func encode(_ frames: Tensor) throws(SwanError) -> Tensor { try vae.latents(of: frames) }
    }

    private final class Decoder: VideoDecoder {
        private let isFirst: Mutex<Bool>

        init(isFirst: Bool) { self.isFirst = Mutex(isFirst) }

        /// The bytes of each latent frame, one byte a value, in the first rows of a frame.
        func decode(_ latents: Tensor) throws(SwanError) -> Tensor {
            let (f, h, w) = (latents.size(2), 8 * latents.size(3), 8 * latents.size(4))
            var pictures: [Tensor] = []
            for frame in try latents.unbound(2) {
                let numbers: [Float] = try frame.array()
                let bytes = numbers.flatMap { number in
                    (0..<4).map { Float((number.bitPattern >> (8 * UInt32($0))) & 0xFF) }
                }
                let padded = bytes + Array(repeating: 0, count: 3 * h * w - bytes.count)
                pictures.append(try Tensor(padded, [1, 3, 1, h, w]) / 127.5 - 1)
            }
            let counts = isFirst.withLock { isFirst in
                defer { isFirst = false }
                return (0..<f).map { $0 == 0 && isFirst ? 1 : 4 }
            }
            var parts: [Tensor] = []
            for (picture, count) in zip(pictures, counts) {
                parts.append(try picture.repeated([1, 1, count, 1, 1]))
            }
            return try concatenated(parts, dim: 2)
        }
    }
}
