import SwanMedia
import SwanSystem
import Synchronization
import Torch

/// Turns a chunk's decoded frames into those that are shown: without additions, and quiet where the
/// input stands still.
///
/// It sees the frames of one stream in order, wherever they were decoded.
final class ShownFrames: Sendable {
    /// The mean of still parts [1, 3, H, W], in levels.
    private let mean = Mutex<Tensor?>(nil)

    /// Returns one frame for each capture time of the chunk, or all of them if it came from noise.
    func callAsFunction(
        _ frames: [VideoFrame],
        _ mark: ChunkMark
    ) throws(SwanError) -> [VideoFrame] {
        let wanted = Array(
            frames.dropFirst(mark.leadFrames).prefix(mark.captureTimes?.count ?? .max)
        )
        guard !mark.shares.isEmpty else { return wanted }
        return try inference { () throws(SwanError) in
            try mean.withLock { mean throws(SwanError) in
                var shown: [VideoFrame] = []
                if mark.startsScene { mean = nil }
                for (frame, share) in zip(wanted, mark.shares) {
                    shown.append(try Self.follow(frame, share, &mean))
                }
                return shown
            }
        }
    }

    private static func follow(
        _ frame: VideoFrame,
        _ share: Tensor,
        _ mean: inout Tensor?
    ) throws(SwanError) -> VideoFrame {
        let (height, width) = (frame.height, frame.width)
        let levels = try Tensor(frame.pixels, [1, height, width, 3]).permuted(0, 3, 1, 2)
            .to(.float32)
        guard let last = mean, last.shape == levels.shape else {
            mean = levels
            return frame
        }
        let next = try last + pixels(share, height, width) * (levels - last)
        mean = next
        return try SwanPipelines.frames(of: (next / 127.5 - 1).unsqueezed(2))[0]
    }

    /// The shares of pixels; black bars around the model's picture follow at once.
    private static func pixels(
        _ share: Tensor,
        _ height: Int,
        _ width: Int
    ) throws(SwanError) -> Tensor {
        let (high, wide) = (share.size(2) * Stillness.block, share.size(3) * Stillness.block)
        let inner = try share.enlarged(height: high, width: wide)
        guard (high, wide) != (height, width) else { return inner }
        let (top, left) = ((height - high) / 2, (width - wide) / 2)
        return try inner.padded([left, width - wide - left, top, height - high - top])
    }
}
