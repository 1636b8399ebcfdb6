package import SwanSystem
package import Torch
import TorchNN

/// Self-attention over all frames of a video, in which blocks of frames see themselves and the past.
///
/// Each block's queries attend to a range of keys, so that neither a mask [L, L] nor scores that it
/// would hide exist: half the work, and the memory of the longest block. With a window, a block sees
/// what the KV cache of a stream with as many frames and sinks holds when the block runs, if the
/// block's length divides both; the cache always keeps a stream's first block.
package struct BlockCausalAttention: Sendable, Equatable {
    /// The frames of each block of queries.
    package let blocks: [Range<Int>]
    /// The ranges of frames whose keys each block sees, in order.
    package let seen: [[Range<Int>]]
    private let tokensPerFrame: Int

    /// Decides what each block sees.
    ///
    /// - Parameters:
    ///   - frames: The latent frames of the video.
    ///   - framesPerBlock: The frames that see each other in both directions; the last block may be
    ///     shorter.
    ///   - window: The frames that a block sees, itself and the sinks included; nil for the whole
    ///     past.
    ///   - sinks: The first frames of the video that are always seen; only with a window.
    package init(
        frames: Int,
        tokensPerFrame: Int,
        framesPerBlock: Int,
        window: Int? = nil,
        sinks: Int = 0
    ) throws(SwanError) {
        guard framesPerBlock > 0, frames > 0 else {
            throw SwanError(
                .invalidArgument,
                "blocks of \(framesPerBlock) frames cannot divide a video of \(frames): both must be "
                    + "at least 1"
            )
        }
        if let window, window < sinks + framesPerBlock || sinks < 0 {
            throw SwanError(
                .invalidArgument,
                "a window of \(window) frames with \(sinks) sinks has no room for a block of "
                    + "\(framesPerBlock): use at least \(max(0, sinks) + framesPerBlock)"
            )
        }
        self.tokensPerFrame = tokensPerFrame
        blocks = stride(from: 0, to: frames, by: framesPerBlock).map {
            $0..<min(frames, $0 + framesPerBlock)
        }
        seen = blocks.map { block in
            guard let window, block.upperBound > window else { return [0..<block.upperBound] }
            let recent = block.upperBound - (window - sinks)..<block.upperBound
            return sinks > 0 ? [0..<sinks, recent] : [recent]
        }
    }

    /// Attends with queries, keys and values [B, L, N, D] of the whole video.
    package func callAsFunction(
        _ q: Tensor,
        _ k: Tensor,
        _ v: Tensor
    ) throws(SwanError) -> Tensor {
        guard blocks.count > 1 else { return try attention(q, k, v) }
        var parts: [Tensor] = []
        for (block, ranges) in zip(blocks, seen) {
            parts.append(
                try attention(tokens(q, [block]), tokens(k, ranges), tokens(v, ranges))
            )
        }
        return try concatenated(parts, dim: 1)
    }

    /// The tokens of ranges of frames.
    private func tokens(_ x: Tensor, _ frames: [Range<Int>]) throws(SwanError) -> Tensor {
        var parts: [Tensor] = []
        for range in frames {
            parts.append(
                try x.narrowed(1, range.lowerBound * tokensPerFrame, range.count * tokensPerFrame)
            )
        }
        return parts.count == 1 ? parts[0] : try concatenated(parts, dim: 1)
    }
}
