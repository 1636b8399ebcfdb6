import Foundation
import SwanMedia
import SwanTraining
import Torch
import SwanSystem

/// A clip to measure on, at the model's size.
struct QualityClip: Sendable {
    /// The file name.
    let name: String
    /// The frames [T, 3, H, W], uint8, resized as a stream does it.
    let pixels: Tensor

    /// Decodes the first `maxFrames` frames of a file.
    init(_ path: String, height: Int, width: Int, maxFrames: Int) throws {
        name = URL(fileURLWithPath: path).lastPathComponent
        let reader = try VideoReader(path: path, options: VideoReader.Options(threads: 1))
        var frames: [Tensor] = []
        while frames.count < maxFrames, let frame = try reader.nextFrame() {
            let picture = try Footage.pixels(of: frame)
            let isSame = frame.height == height && frame.width == width
            frames.append(
                isSame ? picture : try Footage.resized(picture, height: height, width: width)
            )
        }
        guard frames.count > 1 else {
            throw SwanError(
                .invalidData,
                "\(path): has \(frames.count) frames; at least 2 are needed"
            )
        }
        pixels = try concatenated(frames)
    }

    /// Creates a clip from decoded frames [T, 3, H, W], uint8.
    init(name: String, pixels: Tensor) {
        self.name = name
        self.pixels = pixels
    }

    /// The number of frames.
    var count: Int { pixels.size(0) }

    /// Returns a frame as input for a stream.
    func frame(_ index: Int) throws -> VideoFrame {
        let picture = try pixels.selected(0, index).permuted(1, 2, 0).contiguous()  // [H, W, 3]
        return try VideoFrame(
            width: picture.size(1),
            height: picture.size(0),
            pixels: picture.array(of: UInt8.self)
        )
    }

    /// Returns which of `count` frames is at position `index` of an endless stream that plays them forward
    /// and backward, so that it never jumps: 0, 1, 2, 1, 0, 1 ... for three frames.
    static func swing(_ index: Int, over count: Int) -> Int {
        guard count > 1 else { return 0 }
        let position = index % (2 * (count - 1))
        return position < count ? position : 2 * (count - 1) - position
    }
}
