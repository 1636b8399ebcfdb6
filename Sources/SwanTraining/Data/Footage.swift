import Foundation
package import SwanMedia
package import Torch
package import SwanSystem

/// Decodes videos and images into memory as bytes.
package enum Footage {
    /// Returns a video's frames: [T, 3, H, W], uint8, with the shorter side at most `shortSide`.
    ///
    /// Keeps every `every`-th frame starting at frame `skip`, up to `maxFrames`.
    package static func video(
        _ path: String,
        shortSide: Int,
        skip: Int = 0,
        every: Int,
        maxFrames: Int
    ) throws -> Tensor {
        let reader = try VideoReader(path: path, options: VideoReader.Options(threads: 1))
        var frames: [Tensor] = []
        var index = 0
        while frames.count < maxFrames, let frame = try reader.nextFrame() {
            if index >= skip, (index - skip).isMultiple(of: every) {
                frames.append(try picture(frame, shortSide))
            }
            index += 1
        }
        guard !frames.isEmpty else {
            throw SwanError(.invalidData, "\(path): no frames left after skipping \(skip)")
        }
        return try concatenated(frames)
    }

    /// Returns an image: [1, 3, H, W], uint8, with the shorter side at most `shortSide`.
    package static func still(_ path: String, shortSide: Int) throws -> Tensor {
        try picture(try readImage(path), shortSide)
    }

    private static func picture(_ frame: VideoFrame, _ shortSide: Int) throws(SwanError) -> Tensor {
        let pixels = try pixels(of: frame)
        let scale = Double(shortSide) / Double(min(frame.height, frame.width))
        guard scale < 1 else { return pixels }
        return try resized(
            pixels,
            height: Int((Double(frame.height) * scale).rounded()),
            width: Int((Double(frame.width) * scale).rounded())
        )
    }

    /// Returns a frame's pixels: [1, 3, H, W], uint8.
    package static func pixels(of frame: VideoFrame) throws(SwanError) -> Tensor {
        try Tensor(frame.pixels, [1, frame.height, frame.width, 3]).permuted(0, 3, 1, 2)
            .contiguous()
    }

    /// Resizes uint8 pixels [T, 3, H, W] with anti-aliasing.
    package static func resized(_ pixels: Tensor, height: Int, width: Int) throws(SwanError)
        -> Tensor
    {
        try pixels.to(.float32).contiguous().resizedAntialiased(height: height, width: width)
            .rounded().clamped(min: 0, max: 255).to(.uint8)
    }
}
