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
    fit: FrameFit,
    dtype: DType,
    device: Device
) throws -> Tensor {
    var pictures: [Tensor] = []
    for whole in frames {
        let frame = fit == .crop ? try whole.middle(height: height, width: width) : whole
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

extension VideoFrame {
    /// The largest part in its middle that is as wide, for its height, as `width` is for `height`.
    fileprivate func middle(height: Int, width: Int) throws(MediaError) -> VideoFrame {
        func nearest(_ a: Int, _ b: Int) -> Int { max(1, (2 * a + b) / (2 * b)) }
        let isTall = self.height * width > self.width * height
        let high = isTall ? nearest(self.width * height, width) : self.height
        let wide = isTall ? self.width : nearest(self.height * width, height)
        return try cropped(
            left: (self.width - wide) / 2,
            top: (self.height - high) / 2,
            width: wide,
            height: high
        )
    }
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
