package import SwanSystem
package import Torch

/// A source of training clips.
package protocol ClipSource: Sendable {
    /// Returns clip number `index`: [T, 3, H, W], float32 in [0, 1].
    ///
    /// The clip depends only on the source's seed and `index`, so a resumed run sees the same
    /// clips. Can be called from any thread; records nothing for gradients.
    func clip(index: UInt64, frames: Int, height: Int, width: Int) throws -> Tensor

    /// Returns clip `number` of those shown on sample sheets, which are never trained on:
    /// [T, 3, H, W].
    func example(_ number: Int, frames: Int, height: Int, width: Int) throws -> Tensor
}

extension ClipSource {
    /// Returns a clip with an index far beyond those used in training.
    package func example(
        _ number: Int,
        frames: Int,
        height: Int,
        width: Int
    ) throws -> Tensor {
        try clip(index: firstExample + UInt64(number), frames: frames, height: height, width: width)
    }
}

/// The index of the first example clip.
package let firstExample: UInt64 = 1 << 62

/// The size of a clip.
package struct ClipSize: Equatable, Sendable {
    package let frames: Int
    package let height: Int
    package let width: Int

    package init(frames: Int, height: Int, width: Int) {
        self.frames = frames
        self.height = height
        self.width = width
    }
}

/// A kind of footage that makes a clip from the random numbers of one sample.
package protocol ClipMaker: Sendable {
    /// Returns a clip: [T, 3, H, W], float32 in [0, 1].
    func clip(_ size: ClipSize, _ random: inout SampleRandom) throws(SwanError) -> Tensor
}
