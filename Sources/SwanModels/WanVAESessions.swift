public import SwanSystem
import Synchronization
public import Torch

extension WanVAE: VideoAutoencoder {
    /// The number of channels of a latent.
    public var latentChannels: Int { config.zDim }
    /// The width and height of a latent in pixels.
    public var spatialStride: Int { config.spatialStride }
    /// The number of frames of every latent after the first.
    public var temporalStride: Int { config.temporalStride }

    /// Encodes a whole video to the mean of its latents, normalized.
    public func latents(of video: Tensor) throws(SwanError) -> Tensor {
        try normalized(encode(video))
    }

    /// Decodes normalized latents to a whole video.
    public func video(of latents: Tensor) throws(SwanError) -> Tensor {
        try decode(denormalized(latents.to(device, dtype)))
    }

    /// Creates an encoder at the beginning of a video.
    public func makeEncoder(normalizing: Bool) -> any VideoEncoder {
        Encoder(vae: self, normalizing: normalizing, state: EncoderState())
    }

    /// Creates a decoder at the beginning of a video.
    public func makeDecoder() -> any VideoDecoder { Decoder(vae: self, state: DecoderState()) }

    fileprivate final class Encoder: VideoEncoder {
        private let vae: WanVAE
        private let normalizing: Bool
        private let state: Mutex<EncoderState>

        init(vae: WanVAE, normalizing: Bool, state: consuming sending EncoderState) {
            self.vae = vae
            self.normalizing = normalizing
            self.state = Mutex(state)
        }

        func encode(_ frames: Tensor) throws(SwanError) -> Tensor {
            let mean = try state.withLock { state throws(SwanError) in
                try vae.encode(frames, state: &state)
            }
            return normalizing ? try vae.normalized(mean) : mean
        }
    }

    fileprivate final class Decoder: VideoDecoder {
        private let vae: WanVAE
        private let state: Mutex<DecoderState>

        init(vae: WanVAE, state: consuming sending DecoderState) {
            self.vae = vae
            self.state = Mutex(state)
        }

        func decode(_ latents: Tensor) throws(SwanError) -> Tensor {
            let latents = try vae.denormalized(latents.to(vae.device, vae.dtype))
            return try state.withLock { state throws(SwanError) in
                try vae.decode(latents, state: &state)
            }
        }
    }
}

extension WanVAE: RowwiseAutoencoder {
    /// Creates an encoder of some rows at the beginning of a video.
    package func makeEncoder(normalizing: Bool, rows: any PictureRows) -> any VideoEncoder {
        Encoder(vae: self, normalizing: normalizing, state: EncoderState(rows: rows))
    }

    /// Creates a decoder of some rows at the beginning of a video.
    package func makeDecoder(rows: any PictureRows) -> any VideoDecoder {
        Decoder(vae: self, state: DecoderState(rows: rows))
    }
}
