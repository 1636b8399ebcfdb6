import SwanMedia
import SwanSystem
import Torch

/// How frames are fitted to a size with another aspect ratio.
public enum FrameFit: String, Sendable, CaseIterable, Codable {
    /// Uses the largest centered part of the frame that has the target's aspect ratio.
    case crop
    /// Keeps the whole frame and adds black bars.
    case pad
    /// Stretches the whole frame to the size, as the reference does.
    case stretch
}

/// Converts frames to the network's input: [1, 3, T, height, width] in [-1, 1].
///
/// Frames are resized as in the reference: in float32 with antialiasing, then rounded to integers.
func tensor(
    of frames: [VideoFrame],
    height: Int,
    width: Int,
    fit: FrameFit,
    pixelAspect: Double = 1,
    dtype: DType,
    device: Device
) throws -> Tensor {
    let aspect = Double(width) / Double(height) / pixelAspect
    var pictures: [Tensor] = []
    for whole in frames {
        let frame = fit == .crop ? try whole.middle(aspect) : whole
        let (high, wide) =
            fit == .pad ? frame.inside(height, width, pixelAspect) : (height, width)
        let bytes = try Tensor(frame.pixels, [1, frame.height, frame.width, 3])
        var picture = try bytes.permuted(0, 3, 1, 2).to(device, .float32)  // [1, 3, H, W]
        if (frame.height, frame.width) != (high, wide) {
            picture = try picture.resizedAntialiased(height: high, width: wide).rounded()
        }
        if (height, width) != (high, wide) {
            let (top, left) = ((height - high) / 2, (width - wide) / 2)
            picture = try picture.padded([left, width - wide - left, top, height - high - top])
        }
        pictures.append(picture)
    }
    let video = try stacked(pictures, dim: 2)  // [1, 3, T, H, W]
    return try (video / 127.5 - 1).to(dtype)
}

extension VideoFrame {
    /// The largest centered part with an aspect ratio, in pixels of width per pixel of height.
    fileprivate func middle(_ aspect: Double) throws(SwanError) -> VideoFrame {
        let isTall = Double(height) * aspect > Double(width)
        let high = isTall ? max(1, Int((Double(width) / aspect).rounded())) : height
        let wide = isTall ? width : max(1, Int((Double(height) * aspect).rounded()))
        return try cropped(
            left: (width - wide) / 2,
            top: (height - high) / 2,
            width: wide,
            height: high
        )
    }

    /// The largest size (height, width) within a height and a width that keeps the aspect ratio.
    fileprivate func inside(_ high: Int, _ wide: Int, _ pixelAspect: Double) -> (Int, Int) {
        let aspect = Double(width) * pixelAspect / Double(height)
        return aspect * Double(high) > Double(wide)
            ? (max(1, Int((Double(wide) / aspect).rounded())), wide)
            : (high, max(1, Int((Double(high) * aspect).rounded())))
    }

    /// The frame centered in a larger black one.
    func centered(width wide: Int, height high: Int) -> VideoFrame {
        guard wide >= width, high >= height, (wide, high) != (width, height) else { return self }
        let (left, top) = ((wide - width) / 2, (high - height) / 2)
        return VideoFrame(width: wide, height: high, seconds: seconds) { target in
            target.initializeMemory(as: UInt8.self, repeating: 0)
            withUnsafeBytes { source in
                for row in 0..<height {
                    let part = source[(3 * row * width)..<(3 * (row + 1) * width)]
                    let at = 3 * ((top + row) * wide + left)
                    UnsafeMutableRawBufferPointer(rebasing: target[at...])
                        .copyMemory(from: UnsafeRawBufferPointer(rebasing: part))
                }
            }
        }
    }
}

/// Converts a video [1, 3, T, H, W] in [-1, 1] to frames.
func frames(of video: Tensor) throws(SwanError) -> [VideoFrame] {
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
