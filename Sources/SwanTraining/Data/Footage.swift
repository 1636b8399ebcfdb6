import Foundation
package import SwanMedia
package import Torch
package import SwanSystem

/// Decoded pictures kept in memory as bytes.
package enum Footage {
    /// A video's frames: [T, 3, H, W], uint8, the shorter side at most `shortSide`.
    ///
    /// Takes one frame of `every` from frame `skip` on, and `maxFrames` at most.
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
            throw SwanError(.invalidData, "\(path): has no frames after the \(skip) to skip")
        }
        return try concatenated(frames)
    }

    /// A picture: [1, 3, H, W], uint8, the shorter side at most `shortSide`.
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

    /// A frame's bytes: [1, 3, H, W], uint8.
    package static func pixels(of frame: VideoFrame) throws(SwanError) -> Tensor {
        try Tensor(frame.pixels, [1, frame.height, frame.width, 3]).permuted(0, 3, 1, 2)
            .contiguous()
    }

    /// Bytes [T, 3, H, W] at another size, with anti-aliasing.
    package static func resized(_ pixels: Tensor, height: Int, width: Int) throws(SwanError)
        -> Tensor
    {
        try pixels.to(.float32).contiguous().resizedAntialiased(height: height, width: width)
            .rounded().clamped(min: 0, max: 255).to(.uint8)
    }
}
