import SwanMedia
import Torch

/// Frames as the network takes them: [1, 3, T, height, width] in [-1, 1].
///
/// Resized as the reference does: in float32 with antialiasing, then rounded to whole levels.
func tensor(
    of frames: [VideoFrame],
    height: Int,
    width: Int,
    dtype: DType,
    device: Device
) throws(TorchError) -> Tensor {
    var pictures: [Tensor] = []
    for frame in frames {
        let bytes = try Tensor(frame.pixels, [1, frame.height, frame.width, 3])
        let picture = try bytes.permuted(0, 3, 1, 2).to(device, .float32)  // [1, 3, H, W]
        let same = frame.height == height && frame.width == width
        pictures.append(
            same ? picture : try picture.resizedAntialiased(height: height, width: width).rounded()
        )
    }
    let video = try stacked(pictures, dim: 2)  // [1, 3, T, H, W]
    return try (video / 127.5 - 1).to(dtype)
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
