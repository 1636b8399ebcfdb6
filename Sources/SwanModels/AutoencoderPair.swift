public import Torch
public import SwanSystem

/// The encoder of one autoencoder with the decoder of another whose latents are the same, such as Wan's
/// own with the tiny one's decoder: a stream then sees all there is in a picture, and decodes fast.
public struct AutoencoderPair: VideoAutoencoder {
    /// What makes latents, and what makes videos of them.
    public let encoding, decoding: any VideoAutoencoder

    /// Throws `invalidArgument` where the latents of the two have not the same sizes.
    public init(
        encoding: any VideoAutoencoder,
        decoding: any VideoAutoencoder
    ) throws(SwanError) {
        func sizes(_ vae: any VideoAutoencoder) -> [Int] {
            [vae.latentChannels, vae.spatialStride, vae.temporalStride]
        }
        guard sizes(encoding) == sizes(decoding) else {
            throw SwanError(
                .invalidArgument,
                "the encoder and the decoder do not fit: channels, pixels and frames of a latent are "
                    + "\(sizes(encoding)) and \(sizes(decoding))"
            )
        }
        self.encoding = encoding
        self.decoding = decoding
    }

    /// Channels of a latent.
    public var latentChannels: Int { encoding.latentChannels }
    /// Pixels on a side of what one latent stands for.
    public var spatialStride: Int { encoding.spatialStride }
    /// Frames that a latent after the first stands for.
    public var temporalStride: Int { encoding.temporalStride }
    /// Frames after a latent's own that the encoder has to see before it gives the latent.
    public var lookahead: Int { encoding.lookahead }
    /// The dtype of the latents.
    public var dtype: DType { encoding.dtype }
    /// Where the encoder's weights are.
    public var device: Device { encoding.device }

    /// The latents of a whole video.
    public func latents(of video: Tensor) throws(SwanError) -> Tensor {
        try encoding.latents(of: video)
    }

    /// The video of latents.
    public func video(of latents: Tensor) throws(SwanError) -> Tensor {
        try decoding.video(of: latents)
    }

    /// An encoder at the beginning of a video.
    public func makeEncoder(normalizing: Bool) throws(SwanError) -> any VideoEncoder {
        try encoding.makeEncoder(normalizing: normalizing)
    }

    /// A decoder at the beginning of a video.
    public func makeDecoder() throws(SwanError) -> any VideoDecoder {
        try decoding.makeDecoder()
    }
}
