public import Torch
public import SwanSystem

/// The size of a latent in frames and pixels, as an autoencoder or its configuration defines it.
public protocol LatentStrides {
    /// The width and height of a latent in pixels.
    var spatialStride: Int { get }
    /// The number of frames of every latent after the first; a video's first latent represents one
    /// frame.
    var temporalStride: Int { get }
}

extension LatentStrides {
    /// The number of video frames of `count` latents, at least one: 1 + s (count - 1).
    public func videoFrames(ofLatents count: Int) -> Int { 1 + (count - 1) * temporalStride }
}

/// A network that encodes videos to latents and decodes latents to videos, whole or in parts.
///
/// Videos are [B, 3, T, H, W] in [-1, 1]. Latents are [B, latentChannels, F, h, w] as diffusion
/// models see them, with mean 0 and standard deviation 1. A video's first latent represents one
/// frame, each later one `temporalStride` frames.
public protocol VideoAutoencoder: LatentStrides, Sendable {
    /// The number of channels of a latent.
    var latentChannels: Int { get }
    /// The number of frames after a latent's own that the encoder needs before it returns the
    /// latent.
    var lookahead: Int { get }
    /// The dtype of results.
    var dtype: DType { get }
    /// The device of the weights.
    var device: Device { get }

    /// Encodes a whole video of 1 + s n frames: [B, 3, 1 + s n, H, W] -> [B, z, 1 + n, h, w].
    func latents(of video: Tensor) throws(SwanError) -> Tensor
    /// Decodes latents to a whole video, within [-1, 1]: [B, z, 1 + n, h, w] -> [B, 3, 1 + s n, H,
    /// W].
    func video(of latents: Tensor) throws(SwanError) -> Tensor
    /// Creates an encoder at the beginning of a video.
    ///
    /// - Parameter normalizing: False for latents with the mean and standard deviation of Wan's own
    ///   encoder.
    func makeEncoder(normalizing: Bool) throws(SwanError) -> any VideoEncoder
    /// Creates a decoder at the beginning of a video.
    func makeDecoder() throws(SwanError) -> any VideoDecoder
}

/// Encodes one video in parts, keeping the state between parts in memory of fixed size.
///
/// Parts encode to the same latents as the whole video, with the last frame repeated for a
/// `lookahead`. An encoder first used under `inference` must continue to be used there.
public protocol VideoEncoder: Sendable {
    /// Encodes the next frames [B, 3, T, H, W]: first `1 + lookahead` frames plus any multiple of
    /// `temporalStride`, then any multiple of `temporalStride`.
    func encode(_ frames: Tensor) throws(SwanError) -> Tensor
}

/// Decodes one video in parts, keeping the state between parts in memory of fixed size.
///
/// Parts decode to the same frames as the whole video. A decoder first used under `inference` must
/// continue to be used there.
public protocol VideoDecoder: Sendable {
    /// Decodes the next latents [B, z, F, h, w] to frames within [-1, 1].
    func decode(_ latents: Tensor) throws(SwanError) -> Tensor
}

extension VideoAutoencoder {
    /// Networks that look only at past frames need no lookahead.
    public var lookahead: Int { 0 }

    /// Creates an encoder at the beginning of a video, with normalized latents.
    public func makeEncoder() throws(SwanError) -> any VideoEncoder {
        try makeEncoder(normalizing: true)
    }

    /// The height and width of the latents of a video of this size.
    ///
    /// Throws `invalidArgument`, naming the nearest valid sizes, for one that the network does not
    /// support.
    public func latentSize(
        height: Int,
        width: Int
    ) throws(SwanError) -> (height: Int, width: Int) {
        let stride = spatialStride
        guard height > 0, width > 0, height % stride == 0, width % stride == 0 else {
            func nearest(_ size: Int) -> Int { max(1, (size + stride / 2) / stride) * stride }
            throw SwanError(
                .invalidArgument,
                "a video cannot be \(width)x\(height): width and height must be multiples of "
                    + "\(stride), such as \(nearest(width))x\(nearest(height))"
            )
        }
        return (height / stride, width / stride)
    }

    /// The number of latents of a video of `frames` frames.
    ///
    /// Throws `invalidArgument`, naming valid numbers, for one that the network does not support.
    public func latentFrames(of frames: Int) throws(SwanError) -> Int {
        try requireFrames(frames, after: 1)
        return 1 + (frames - 1) / temporalStride
    }

    /// Throws unless `count` is `first` plus a multiple of `temporalStride`.
    func requireFrames(_ count: Int, after first: Int) throws(SwanError) {
        let step = temporalStride
        let least = first == 0 ? step : first
        guard count >= least, (count - first) % step == 0 else {
            throw SwanError(
                .invalidArgument,
                "\(count) frames do not fit: expected \(first == 0 ? "" : "\(first) plus ")a multiple of "
                    + "\(step), such as \(least), \(least + step) or "
                    + "\(least + 2 * step)"
            )
        }
    }

    /// Throws unless the next part [B, H, W, C] of a video has the size of the first; empty for no
    /// first part.
    func requireSame(_ next: [Int], as size: [Int]) throws(SwanError) {
        guard size.isEmpty || size == next else {
            throw SwanError(
                .invalidArgument,
                "the size of a stream cannot change: [B, H, W, C] was \(size) and is now \(next)"
            )
        }
    }
}
