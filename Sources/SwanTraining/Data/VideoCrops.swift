package import SwanSystem
package import Torch

/// Random crops of a video in space and time.
package struct VideoCrops: ClipMaker {
    /// [T, 3, H, W], uint8.
    let frames: Tensor

    /// Creates crops of a video [T, 3, H, W], uint8.
    package init(frames: Tensor) { self.frames = frames }

    package func clip(_ size: ClipSize, _ random: inout SampleRandom) throws(SwanError) -> Tensor {
        let window = try self.window(size, &random)
        let pixels = try window.to(.float32) * (1 / 255)
        guard pixels.size(2) != size.height || pixels.size(3) != size.width else { return pixels }
        return try pixels.contiguous().resizedAntialiased(height: size.height, width: size.width)
    }

    /// Returns a crop with the aspect ratio of `size`, up to twice as large; smaller only if the
    /// video is.
    private func window(
        _ size: ClipSize,
        _ random: inout SampleRandom
    ) throws(SwanError) -> Tensor {
        let all = frames.size(0)
        let step = random.chance(0.2) && all > (size.frames - 1) * 2 ? 2 : 1
        let span = min(all, (size.frames - 1) * step + 1)
        let first = random.integer(0..<(all - span + 1))

        let fit = min(
            Double(frames.size(2)) / Double(size.height),
            Double(frames.size(3)) / Double(size.width)
        )
        let isClose = random.chance(0.5)
        let zoomed = random.uniform(1, max(1, min(2, fit)))
        let scale = fit < 1 ? fit : isClose ? 1 : zoomed
        let height = min(frames.size(2), Int((Double(size.height) * scale).rounded()))
        let width = min(frames.size(3), Int((Double(size.width) * scale).rounded()))
        let top = random.integer(0..<(frames.size(2) - height + 1))
        let left = random.integer(0..<(frames.size(3) - width + 1))

        let window = try frames.sliced(0, first..<(first + span), step: step)
            .narrowed(2, top, height).narrowed(3, left, width)
        let missing = size.frames - window.size(0)
        guard missing > 0 else { return window }
        // If the video is shorter than the clip, repeat its last frame.
        let last = try window.sliced(0, from: -1).expanded([missing, 3, height, width])
        return try concatenated([window, last])
    }
}
