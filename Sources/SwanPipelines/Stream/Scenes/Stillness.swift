import SwanSystem
import Torch

/// How a picture's parts follow new frames: the share of the new frame for each block.
///
/// A part whose input stands still becomes the mean of the last frames, at most `frames` of them; one
/// that changes follows at once. Both the input that it compares with and the output are such means,
/// so what the output lacks behind is bounded by how far the input may stray: about `still` levels.
struct Stillness: Sendable {
    /// The side of a block in pixels.
    static let block = 8
    /// The mean difference, in levels, that counts as standing still, and that as moving.
    private static let still = 1.0
    private static let moving = 3.0
    /// A change shows in the output up to so many blocks away.
    private static let reach = 2

    private let frames: Double
    /// The mean of the input's still parts [1, 3, H, W], in levels.
    private var mean: Tensor?
    /// The number of frames in the mean [1, 1, h, w].
    private var count: Tensor?

    /// - Parameter frames: The most frames that a mean covers.
    init(frames: Int) { self.frames = Double(frames) }

    /// Forgets the past, at a cut.
    mutating func restart() { (mean, count) = (nil, nil) }

    /// Returns the share of each frame of [1, 3, T, H, W] in -1 ... 1: [1, 1, h, w] on the CPU, 1 for a
    /// block that follows at once.
    mutating func next(_ video: Tensor) throws(SwanError) -> [Tensor] {
        var shares: [Tensor] = []
        for index in 0..<video.size(2) {
            let frame = try video.selected(2, index).to(.cpu, .float32) * 127.5  // [1, 3, H, W]
            shares.append(try share(of: frame))
        }
        return shares
    }

    private mutating func share(of frame: Tensor) throws(SwanError) -> Tensor {
        let size = Self.block
        guard let mean, let count else {
            let ones = try frame.mean([1], keepDim: true)
                .averagePooled2d(size, stride: size).onesLike()
            (self.mean, self.count) = (frame, ones)
            return ones
        }
        let error = try (frame - mean).abs().mean([1], keepDim: true)
            .averagePooled2d(size, stride: size)
        let motion = try ((error - Self.still) / (Self.moving - Self.still))
            .clamped(min: 0, max: 1)
            .maxPooled2d(2 * Self.reach + 1, stride: 1, padding: Self.reach)
        let frames = try ((1 - motion) * count + 1).clamped(max: self.frames)
        let share = try 1 / frames
        let pixels = try share.enlarged(height: frame.size(2), width: frame.size(3))
        (self.mean, self.count) = (try mean + pixels * (frame - mean), frames)
        return share
    }
}

extension Tensor {
    /// The shares of pixels from those of blocks [1, 1, h, w].
    func enlarged(height: Int, width: Int) throws(SwanError) -> Tensor {
        try resizedBilinear(height: height, width: width)
    }
}
