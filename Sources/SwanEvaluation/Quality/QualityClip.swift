import Foundation
import SwanMedia
import SwanTraining
import Torch
import SwanSystem

/// Footage to measure on, at a model's size.
struct QualityClip: Sendable {
    /// The file's name.
    let name: String
    /// [T, 3, H, W], uint8, resized as a stream does it.
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
                "\(path): has \(frames.count) frames; nothing moves in fewer than 2"
            )
        }
        pixels = try concatenated(frames)
    }

    /// Footage that is there already: [T, 3, H, W], uint8.
    init(name: String, pixels: Tensor) {
        self.name = name
        self.pixels = pixels
    }

    /// Its frames.
    var count: Int { pixels.size(0) }

    /// A frame for a stream.
    func frame(_ index: Int) throws -> VideoFrame {
        let picture = try pixels.selected(0, index).permuted(1, 2, 0).contiguous()  // [H, W, 3]
        return try VideoFrame(
            width: picture.size(1),
            height: picture.size(0),
            pixels: picture.array(of: UInt8.self)
        )
    }

    /// Which of `count` frames stands at place `index` of a stream that goes through them forward and
    /// backward without end, so that it never jumps: 0, 1, 2, 1, 0, 1 ... of three.
    static func swing(_ index: Int, over count: Int) -> Int {
        guard count > 1 else { return 0 }
        let place = index % (2 * (count - 1))
        return place < count ? place : 2 * (count - 1) - place
    }
}
