public import Torch
public import SwanSystem

/// The input of VACE's control branch: a video, a mask of the regions to generate, and reference
/// images.
///
/// VACE, https://arxiv.org/abs/2503.07598, section 3.2; wan/vace.py.
public enum VACEControl {
    /// Computes the control latents of a video.
    ///
    /// The mask splits the video into the part that is kept and the part that is generated, with
    /// the rest of each filled with gray; both are encoded. The mask follows, with the p by p
    /// pixels of a latent as channels. Each reference image becomes one latent frame before those
    /// of the video, so the latents to be denoised have `references.count` more frames than the
    /// video, which are dropped before decoding.
    ///
    /// - Parameters:
    ///   - video: [B, 3, T, H, W] with values -1 ... 1, T = s n + 1, H and W multiples of 2 p.
    ///     Zeros if there is no input video.
    ///   - mask: [B, 1, T, H, W], 1 where the video is generated, 0 where it is kept; nil for all
    ///     1.
    ///   - references: Each [B, 3, 1, H, W], as returned by `reference`.
    ///   - strides: The s frames and p pixels of a latent; VACE is for the autoencoder of Wan 2.1.
    ///   - encode: The autoencoder, [B, 3, s n + 1, H, W] -> [B, C, n + 1, H/p, W/p].
    /// - Returns: [B, 2C + p p, references + F, H/p, W/p].
    public static func latents(
        video: Tensor,
        mask: Tensor? = nil,
        references: [Tensor] = [],
        strides: any LatentStrides = WanVAEConfig.wan21,
        encode: (Tensor) throws(SwanError) -> Tensor
    ) throws(SwanError) -> Tensor {
        try check(video, mask, references, strides)
        let mask =
            if let mask { try mask.to(video.device, video.dtype) } else {
                try Tensor.ones(maskShape(of: video), video.dtype, video.device)
            }
        let generated = try (mask .> 0.5).to(video.dtype)
        let latents = try concatenated(
            [encode(video * (1 - generated)), encode(video * generated)],
            dim: 1
        )
        var columns: [Tensor] = []
        for image in references {
            let latent = try encode(image)
            columns.append(try concatenated([latent, latent.zerosLike()], dim: 1))
        }
        let folded = try fold(mask, strides).to(latents.device, latents.dtype)
        let before = [0, 0, 0, 0, references.count, 0]
        return try concatenated(
            [concatenated(columns + [latents], dim: 2), folded.padded(before)],
            dim: 1
        )
    }

    private static func maskShape(of video: Tensor) -> [Int] {
        [video.size(0), 1] + video.shape[2...]
    }

    /// Throws if the video does not divide into latents, or the mask or a reference has a different
    /// size.
    private static func check(
        _ video: Tensor,
        _ mask: Tensor?,
        _ references: [Tensor],
        _ strides: any LatentStrides
    ) throws(SwanError) {
        let shape = video.shape
        let (frames, pixels) = (strides.temporalStride, strides.spatialStride)
        guard shape.count == 5, shape[1] == 3, shape[2] % frames == 1 % frames,
            shape[3...].allSatisfy({ $0 > 0 && $0 % (2 * pixels) == 0 })
        else {
            throw SwanError(
                .invalidArgument,
                "a control video of shape \(shape): expected [B, 3, \(frames)n + 1, H, W], H and W "
                    + "multiples of \(2 * pixels)"
            )
        }
        if let mask, mask.shape != maskShape(of: video) {
            throw SwanError(
                .invalidArgument,
                "a mask of shape \(mask.shape) for a video of shape \(shape): "
                    + "expected \(maskShape(of: video))"
            )
        }
        let picture = [shape[0], 3, 1] + shape[3...]
        for image in references where image.shape != picture {
            throw SwanError(
                .invalidArgument,
                "a reference image of shape \(image.shape) for a video of shape \(shape): "
                    + "expected \(picture)"
            )
        }
    }

    /// Centers an image [B, 3, H, W] with values -1 ... 1, of any size and uncropped, in a white
    /// frame [B, 3, 1, height, width].
    public static func reference(
        _ image: Tensor,
        height: Int,
        width: Int
    ) throws(SwanError) -> Tensor {
        guard image.rank == 4, image.size(1) == 3 else {
            throw SwanError(
                .invalidArgument,
                "a reference image of shape \(image.shape): expected [B, 3, H, W]"
            )
        }
        let (rows, columns) = (image.size(2), image.size(3))
        guard (rows, columns) != (height, width) else { return try image.unsqueezed(2) }
        let scale = min(Double(height) / Double(rows), Double(width) / Double(columns))
        let newRows = max(1, Int(Double(rows) * scale))
        let newColumns = max(1, Int(Double(columns) * scale))
        let (top, left) = ((height - newRows) / 2, (width - newColumns) / 2)
        let white = 1.0
        return try image.resizedBilinear(height: newRows, width: newColumns).padded(
            [left, width - newColumns - left, top, height - newRows - top],
            value: white
        ).unsqueezed(2)
    }

    /// [B, 1, T, H, W] -> [B, p p, F, H/p, W/p]: the pixels of a latent as channels, from the video
    /// frame in the middle of each latent frame.
    private static func fold(
        _ mask: Tensor,
        _ strides: any LatentStrides
    ) throws(SwanError) -> Tensor {
        let (b, t, h, w) = (mask.size(0), mask.size(2), mask.size(3), mask.size(4))
        let p = strides.spatialStride
        let frames = (t + strides.temporalStride - 1) / strides.temporalStride
        // The nearest of T frames to the middle of each of F equal parts, (i + 1/2) T / F.
        let middles = (0..<frames).map { (2 * $0 + 1) * t / (2 * frames) }
        return try mask.indexSelected(2, Tensor(middles, [frames]).to(mask.device))
            .reshaped(b, frames, h / p, p, w / p, p)
            .permuted(0, 3, 5, 1, 2, 4)
            .reshaped(b, p * p, frames, h / p, w / p)
    }
}
