public import Torch
public import SwanSystem

/// An autoencoder that encodes with one network and decodes with another of the same latents.
///
/// For example, Wan's own encoder with the tiny decoder: a stream then keeps the full detail of its
/// input and decodes fast.
public struct AutoencoderPair: VideoAutoencoder {
    /// The autoencoder that encodes, and the one that decodes.
    public let encoding, decoding: any VideoAutoencoder

    /// Throws `invalidArgument` if the latents of the two differ in size.
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
                "the latents of encoder and decoder differ: channels, pixels and frames are "
                    + "\(sizes(encoding)) and \(sizes(decoding))"
            )
        }
        self.encoding = encoding
        self.decoding = decoding
    }

    /// The number of channels of a latent.
    public var latentChannels: Int { encoding.latentChannels }
    /// The width and height of a latent in pixels.
    public var spatialStride: Int { encoding.spatialStride }
    /// The number of frames of every latent after the first.
    public var temporalStride: Int { encoding.temporalStride }
    /// The number of frames after a latent's own that the encoder needs before it returns the
    /// latent.
    public var lookahead: Int { encoding.lookahead }
    /// The dtype of the latents.
    public var dtype: DType { encoding.dtype }
    /// The device of the encoder's weights.
    public var device: Device { encoding.device }

    /// Encodes a whole video.
    public func latents(of video: Tensor) throws(SwanError) -> Tensor {
        try encoding.latents(of: video)
    }

    /// Decodes latents to a whole video.
    public func video(of latents: Tensor) throws(SwanError) -> Tensor {
        try decoding.video(of: latents)
    }

    /// Creates an encoder at the beginning of a video.
    public func makeEncoder(normalizing: Bool) throws(SwanError) -> any VideoEncoder {
        try encoding.makeEncoder(normalizing: normalizing)
    }

    /// Creates a decoder at the beginning of a video.
    public func makeDecoder() throws(SwanError) -> any VideoDecoder {
        try decoding.makeDecoder()
    }
}
