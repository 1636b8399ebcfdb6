public import SwanSystem
import Synchronization
public import Torch

extension WanVAE: VideoAutoencoder {
    /// Channels of a latent.
    public var latentChannels: Int { config.zDim }
    /// Pixels on a side of what one latent stands for.
    public var spatialStride: Int { config.spatialStride }
    /// Frames that a latent after the first stands for.
    public var temporalStride: Int { config.temporalStride }

    /// The mean of a video's latents, normalised.
    public func latents(of video: Tensor) throws(SwanError) -> Tensor {
        try normalized(encode(video))
    }

    /// The video of normalised latents.
    public func video(of latents: Tensor) throws(SwanError) -> Tensor {
        try decode(denormalized(latents.to(device, dtype)))
    }

    /// An encoder at the beginning of a video.
    public func makeEncoder(normalizing: Bool) -> any VideoEncoder {
        Encoder(vae: self, normalizing: normalizing)
    }

    /// A decoder at the beginning of a video.
    public func makeDecoder() -> any VideoDecoder { Decoder(vae: self) }

    private final class Encoder: VideoEncoder {
        private let vae: WanVAE
        private let normalizing: Bool
        private let state = Mutex(EncoderState())

        init(vae: WanVAE, normalizing: Bool) {
            self.vae = vae
            self.normalizing = normalizing
        }

        func encode(_ frames: Tensor) throws(SwanError) -> Tensor {
            let mean = try state.withLock { state throws(SwanError) in
                try vae.encode(frames, state: &state)
            }
            return normalizing ? try vae.normalized(mean) : mean
        }
    }

    private final class Decoder: VideoDecoder {
        private let vae: WanVAE
        private let state = Mutex(DecoderState())

        init(vae: WanVAE) { self.vae = vae }

        func decode(_ latents: Tensor) throws(SwanError) -> Tensor {
            let latents = try vae.denormalized(latents.to(vae.device, vae.dtype))
            return try state.withLock { state throws(SwanError) in
                try vae.decode(latents, state: &state)
            }
        }
    }
}
