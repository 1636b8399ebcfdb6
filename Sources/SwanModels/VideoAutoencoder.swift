public import Torch
public import SwanSystem

/// What tells how many frames and pixels a latent stands for: an autoencoder, or the sizes of one.
public protocol LatentStrides {
    /// Pixels on a side of what one latent stands for.
    var spatialStride: Int { get }
    /// Frames that a latent after the first stands for; a video's first latent stands for one frame.
    var temporalStride: Int { get }
}

extension LatentStrides {
    /// Frames of the video that `count` latents stand for, one or more: 1 + s (count - 1).
    public func videoFrames(ofLatents count: Int) -> Int { 1 + (count - 1) * temporalStride }
}

/// A network that makes latents of videos and videos of latents, a whole video at once or in parts.
///
/// Videos are [B, 3, T, H, W] in [-1, 1]. Latents are [B, latentChannels, F, h, w] as diffusion models
/// see them, with mean 0 and standard deviation 1. A video's first latent stands for one frame, each
/// later one for `temporalStride` frames.
public protocol VideoAutoencoder: LatentStrides, Sendable {
    /// Channels of a latent.
    var latentChannels: Int { get }
    /// Frames after a latent's own that the encoder has to see before it gives the latent.
    var lookahead: Int { get }
    /// The dtype of results.
    var dtype: DType { get }
    /// Where the weights are.
    var device: Device { get }

    /// The latents of a whole video of 1 + s n frames: [B, 3, 1 + s n, H, W] -> [B, z, 1 + n, h, w].
    func latents(of video: Tensor) throws(SwanError) -> Tensor
    /// The video of latents, within [-1, 1]: [B, z, 1 + n, h, w] -> [B, 3, 1 + s n, H, W].
    func video(of latents: Tensor) throws(SwanError) -> Tensor
    /// An encoder at the beginning of a video.
    ///
    /// - Parameter normalizing: false for latents with the mean and deviation of Wan's own encoder.
    func makeEncoder(normalizing: Bool) throws(SwanError) -> any VideoEncoder
    /// A decoder at the beginning of a video.
    func makeDecoder() throws(SwanError) -> any VideoDecoder
}

/// The encoding of one video in parts; it remembers what the next part needs, in memory of fixed size.
///
/// Parts give the latents of the whole, the last frame repeated for a `lookahead`. An encoder that was
/// first used under `inference` is to be used there again.
public protocol VideoEncoder: Sendable {
    /// The latents of the next frames [B, 3, T, H, W]: `1 + lookahead` and any number of
    /// `temporalStride` frames at first, then any number of `temporalStride`.
    func encode(_ frames: Tensor) throws(SwanError) -> Tensor
}

/// The decoding of one video in parts; it remembers what the next part needs, in memory of fixed size.
///
/// Parts give the frames of the whole. A decoder that was first used under `inference` is to be used
/// there again.
public protocol VideoDecoder: Sendable {
    /// The frames of the next latents [B, z, F, h, w], within [-1, 1].
    func decode(_ latents: Tensor) throws(SwanError) -> Tensor
}

extension VideoAutoencoder {
    /// Networks that look at past frames only wait for none.
    public var lookahead: Int { 0 }

    /// An encoder at the beginning of a video, whose latents are normalised.
    public func makeEncoder() throws(SwanError) -> any VideoEncoder {
        try makeEncoder(normalizing: true)
    }

    /// Rows and columns of the latents of a video of this size.
    ///
    /// Throws `invalidArgument`, naming the nearest sizes, for one that the network cannot take.
    public func latentSize(
        height: Int,
        width: Int
    ) throws(SwanError) -> (height: Int, width: Int) {
        let stride = spatialStride
        guard height > 0, width > 0, height % stride == 0, width % stride == 0 else {
            func nearest(_ size: Int) -> Int { max(1, (size + stride / 2) / stride) * stride }
            throw SwanError(
                .invalidArgument,
                "a video of \(width)x\(height) does not fit: width and height must be multiples of "
                    + "\(stride), such as \(nearest(width))x\(nearest(height))"
            )
        }
        return (height / stride, width / stride)
    }

    /// Latents of a video of so many frames.
    ///
    /// Throws `invalidArgument`, naming numbers that fit, for one that the network cannot take.
    public func latentFrames(of frames: Int) throws(SwanError) -> Int {
        try requireFrames(frames, after: 1)
        return 1 + (frames - 1) / temporalStride
    }

    /// Throws unless `count` is `first` frames and any number of `temporalStride`.
    func requireFrames(_ count: Int, after first: Int) throws(SwanError) {
        let step = temporalStride
        let least = first == 0 ? step : first
        guard count >= least, (count - first) % step == 0 else {
            throw SwanError(
                .invalidArgument,
                "\(count) frames do not fit: frames come \(first == 0 ? "" : "\(first) and then ")by "
                    + "\(step), so here a number like \(least), \(least + step) or "
                    + "\(least + 2 * step)"
            )
        }
    }

    /// Throws unless the next part [B, H, W, C] of a video has the size of the first; empty for none.
    func requireSame(_ next: [Int], as size: [Int]) throws(SwanError) {
        guard size.isEmpty || size == next else {
            throw SwanError(
                .invalidArgument,
                "a stream goes on as it began: [B, H, W, C] was \(size) and is now \(next)"
            )
        }
    }
}
