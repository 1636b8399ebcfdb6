package import SwanMedia
package import SwanModels
package import SwanSystem
package import Torch

/// The image conditioning of image-to-video models.
package enum ImageCondition {
    /// Returns the mask and latents that Wan's image-to-video models concatenate to the noise:
    /// [1, s + z, F, h, w].
    ///
    /// The latents encode a video with the images in their places and gray (0) elsewhere. The mask
    /// has a channel for each frame of a latent and is 1 where there is an image
    /// (wan/image2video.py, wan/first_last_frame2video.py).
    package static func latents(
        first: Tensor,
        last: Tensor?,
        frames: Int,
        _ vae: any VideoAutoencoder
    ) throws(SwanError) -> Tensor {
        let stride = vae.temporalStride
        let encoded = try encode(first, last, frames: frames, vae).to(.float32)  // [1, z, F, h, w]
        let (h, w) = (encoded.size(3), encoded.size(4))
        var given = Array(repeating: Float(0), count: frames)
        given[0] = 1
        if last != nil { given[frames - 1] = 1 }
        // The first latent represents a single frame, which fills all of its mask channels.
        let channels = Array(repeating: given[0], count: stride) + given[1...]
        let mask = try Tensor(channels, [1, encoded.size(2), stride, 1, 1]).transposed(1, 2)
            .to(encoded.device).expanded([1, stride, encoded.size(2), h, w])
        return try concatenated([mask, encoded], dim: 1)
    }

    /// Encodes the images with gray between them, one latent at a time: encoding the whole video at
    /// once would need many times the memory of its latents.
    private static func encode(
        _ first: Tensor,
        _ last: Tensor?,
        frames: Int,
        _ vae: any VideoAutoencoder
    ) throws(SwanError) -> Tensor {
        func gray(_ count: Int) throws(SwanError) -> Tensor {
            try .zeros([1, 3, count] + first.shape[3...], first.dtype, first.device)
        }
        let stride = vae.temporalStride
        // Encoding a tiled autoencoder part by part would keep the state of every tile.
        guard vae.lookahead == 0, frames > 1, !(vae is TiledAutoencoder) else {
            let between = try gray(frames - (last == nil ? 1 : 2))
            let video = try concatenated([first, between] + (last.map { [$0] } ?? []), dim: 2)
            return try vae.latents(of: video)
        }
        let encoder = try vae.makeEncoder()
        var latents = [try encoder.encode(first)]
        for start in Swift.stride(from: 1, to: frames, by: stride) {
            var part = try gray(stride)
            if let last, start + stride == frames {
                part = try concatenated([gray(stride - 1), last], dim: 2)
            }
            latents.append(try encoder.encode(part))
        }
        return try concatenated(latents, dim: 2)
    }

    /// Converts an image to a tensor [1, 3, height, width] in [-1, 1].
    package static func picture(_ picture: VideoFrame, on device: Device) throws(SwanError)
        -> Tensor
    {
        let bytes = try Tensor(picture.pixels, [1, picture.height, picture.width, 3])
        return try bytes.permuted(0, 3, 1, 2).to(device, .float32) / 127.5 - 1
    }
}
