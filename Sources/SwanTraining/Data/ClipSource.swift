package import SwanSystem
public import Torch

/// Where training clips come from.
public protocol ClipSource: Sendable {
    /// Clip number `index`: [T, 3, H, W], float32 in [0, 1].
    ///
    /// A function of the source's seed and of `index`, so that a resumed run sees the same clips. It
    /// may be called from any thread and records nothing for gradients.
    func clip(index: UInt64, frames: Int, height: Int, width: Int) throws -> Tensor

    /// Clip number `number` of those that people look at, which training never draws: [T, 3, H, W].
    func example(_ number: Int, frames: Int, height: Int, width: Int) throws -> Tensor
}

extension ClipSource {
    /// A clip far beyond those that training draws.
    public func example(
        _ number: Int,
        frames: Int,
        height: Int,
        width: Int
    ) throws -> Tensor {
        try clip(index: firstExample + UInt64(number), frames: frames, height: height, width: width)
    }
}

/// Where the indices of examples begin.
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

/// One kind of footage, which makes a clip from the random numbers of one sample.
package protocol ClipMaker: Sendable {
    /// [T, 3, H, W], float32 in [0, 1].
    func clip(_ size: ClipSize, _ random: inout SampleRandom) throws(SwanError) -> Tensor
}
