import SwanMedia
import Torch

/// How frames of one shape come into pictures of another.
public enum FrameFit: String, Sendable, CaseIterable {
    /// All of a frame, its sides scaled apart, as the reference does.
    case stretch
    /// The largest part in a frame's middle that has the picture's shape.
    case crop
}

/// Frames as the network takes them: [1, 3, T, height, width] in [-1, 1].
///
/// Resized as the reference does: in float32 with antialiasing, then rounded to whole levels.
func tensor(
    of frames: [VideoFrame],
    height: Int,
    width: Int,
    fit: FrameFit = .stretch,
    dtype: DType,
    device: Device
) throws(TorchError) -> Tensor {
    var pictures: [Tensor] = []
    for frame in frames {
        let bytes = try Tensor(frame.pixels, [1, frame.height, frame.width, 3])
        let whole = try bytes.permuted(0, 3, 1, 2).to(device, .float32)  // [1, 3, H, W]
        let picture = fit == .crop ? try middle(of: whole, height: height, width: width) : whole
        let same = picture.size(2) == height && picture.size(3) == width
        pictures.append(
            same ? picture : try picture.resizedAntialiased(height: height, width: width).rounded()
        )
    }
    let video = try stacked(pictures, dim: 2)  // [1, 3, T, H, W]
    return try (video / 127.5 - 1).to(dtype)
}

/// The largest part in the middle of pictures [N, C, H, W] that is as wide, for its height, as
/// `width` is for `height`.
private func middle(of pictures: Tensor, height: Int, width: Int) throws(TorchError) -> Tensor {
    let (h, w) = (pictures.size(2), pictures.size(3))
    func nearest(_ a: Int, _ b: Int) -> Int { max(1, (2 * a + b) / (2 * b)) }
    let size =
        h * width > w * height ? (nearest(w * height, width), w) : (h, nearest(h * width, height))
    return try pictures.narrowed(2, (h - size.0) / 2, size.0).narrowed(3, (w - size.1) / 2, size.1)
        .contiguous()
}

/// The frames of a video [1, 3, T, H, W] in [-1, 1].
func frames(of video: Tensor) throws(TorchError) -> [VideoFrame] {
    let levels = try ((video.to(.float32) + 1) * 127.5).rounded().clamped(min: 0, max: 255)
        .to(.uint8).selected(0, 0).permuted(1, 2, 3, 0).to(.cpu).contiguous()  // [T, H, W, 3]
    let (height, width) = (levels.size(1), levels.size(2))
    var frames: [VideoFrame] = []
    for picture in try levels.unbound(0) {
        let frame: VideoFrame = try picture.withUnsafeBytes { bytes in
            VideoFrame(width: width, height: height) {
                $0.copyMemory(from: UnsafeRawBufferPointer(bytes))
            }
        }
        frames.append(frame)
    }
    return frames
}
