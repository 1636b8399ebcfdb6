import Torch

/// Where training clips come from.
public protocol ClipSource: Sendable {
    /// Clip number `index`: [T, 3, H, W], float32 in [0, 1].
    ///
    /// A function of the source's seed and of `index`, so that a resumed run sees the same clips. It
    /// may be called from any thread and records nothing for gradients.
    func clip(index: UInt64, frames: Int, height: Int, width: Int) throws -> Tensor
}

/// The size of a clip.
struct ClipSize: Equatable, Sendable {
    let frames: Int
    let height: Int
    let width: Int
}

/// One kind of footage, which makes a clip from the random numbers of one sample.
protocol ClipMaker: Sendable {
    /// [T, 3, H, W], float32 in [0, 1].
    func clip(_ size: ClipSize, _ random: inout SampleRandom) throws(TorchError) -> Tensor
}
