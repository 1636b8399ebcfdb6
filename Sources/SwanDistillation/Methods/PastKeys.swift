import SwanModels
import SwanSystem
import Torch

/// The keys and values of the blocks of a video that are done, for every transformer block.
///
/// They are constants, as in a stream's cache, and never overwritten, so that a gradient may be
/// taken through attention to them at any later time.
struct PastKeys: Sendable {
    private let view: BlockCausalAttention
    private let tokensPerFrame: Int
    private var keys, values: [[Tensor]]

    /// Creates the empty past of a video whose blocks see each other as `view` says.
    init(_ view: BlockCausalAttention, tokensPerFrame: Int, layers: Int) {
        self.view = view
        self.tokensPerFrame = tokensPerFrame
        keys = Array(repeating: [], count: layers)
        values = keys
    }

    /// Adds the keys and values [B, L, N, D] of the next block in a transformer block.
    mutating func append(_ layer: Int, _ k: Tensor, _ v: Tensor) throws(SwanError) {
        keys[layer].append(try k.detached())
        values[layer].append(try v.detached())
    }

    /// The keys and values that block `block` of the video sees, followed by its own.
    func joined(
        _ layer: Int,
        _ block: Int,
        _ k: Tensor,
        _ v: Tensor
    ) throws(SwanError) -> (keys: Tensor, values: Tensor) {
        guard block > 0 else { return (k, v) }
        return (
            try concatenated(seen(keys[layer], block) + [k], dim: 1),
            try concatenated(seen(values[layer], block) + [v], dim: 1)
        )
    }

    /// The parts of earlier blocks that a block sees.
    private func seen(_ parts: [Tensor], _ block: Int) throws(SwanError) -> [Tensor] {
        var found: [Tensor] = []
        for (frames, part) in zip(view.blocks, parts.prefix(block)) {
            for range in view.seen[block] {
                let own = range.clamped(to: frames)
                guard !own.isEmpty else { continue }
                let first = (own.lowerBound - frames.lowerBound) * tokensPerFrame
                found.append(try part.narrowed(1, first, own.count * tokensPerFrame))
            }
        }
        return found
    }
}
