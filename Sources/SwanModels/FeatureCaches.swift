import SwanSystem
import Torch

/// What a causal network over frames has to remember of the frames before: for every layer that looks
/// back, the last frames it read.
///
/// Layers take their slots in the order in which they run. The slots are made by the first pass and
/// overwritten by later ones, so that a stream's memory does not grow.
struct FeatureCaches: ~Copyable {
    /// Whether the pass holds the beginning of the video.
    private(set) var isStart = true
    /// Whether more passes follow.
    private let streams: Bool
    /// Whether gradients compute layers again, so that nothing is kept of them.
    private let recomputes: Bool
    private var slots: [Tensor] = []
    private var next = 0

    /// Caches before the first frame; without `streams` for one pass over a whole video.
    init(streams: Bool, recomputes: Bool = false) {
        self.streams = streams
        self.recomputes = recomputes && !streams
    }

    /// Begins a pass through the network.
    mutating func beginPass() { next = 0 }

    /// Ends a pass; the next one goes on with the frames after it.
    mutating func endPass() { isStart = false }

    /// What a layer makes of x.
    mutating func run(_ layer: any WanVAELayer, _ x: Tensor) throws(SwanError) -> Tensor {
        guard recomputes else { return try layer(x, &self) }
        return try recomputed { () throws(SwanError) in
            // In one pass over a whole video nothing is remembered.
            var caches = FeatureCaches(streams: false)
            return try layer(x, &caches)
        }
    }

    /// x [B, F, H, W, C] after the `count` frames before it, which are zeros at the start.
    mutating func prepending(_ count: Int, to x: Tensor) throws(SwanError) -> Tensor {
        let joined = try concatenated([front(count, of: x), x], dim: 1)  // [B, count + F, H, W, C]
        try remember(joined.narrowed(1, joined.size(1) - count, count))
        return joined
    }

    /// x after the one frame before it; at the start x alone.
    mutating func prependingLast(to x: Tensor) throws(SwanError) -> Tensor {
        let joined = isStart ? x : try concatenated([slots[next], x], dim: 1)
        try remember(joined.narrowed(1, joined.size(1) - 1, 1))
        return joined
    }

    /// What `body` makes of the `count` frames before x, nil at the start, without joining them to x.
    mutating func withFront(
        _ count: Int,
        of x: Tensor,
        _ body: (_ front: Tensor?) throws(SwanError) -> Tensor
    ) throws(SwanError) -> Tensor {
        let result = try body(isStart ? nil : slots[next])
        let frames = x.size(1)
        if frames >= count {
            try remember(x.narrowed(1, frames - count, count))
        } else {
            let front = try front(count, of: x).narrowed(1, frames, count - frames)
            try remember(concatenated([front, x], dim: 1))
        }
        return result
    }

    /// Keeps the last frames that a layer has read, and goes on to the next layer.
    private mutating func remember(_ last: Tensor) throws(SwanError) {
        guard streams else { return }
        if isStart {
            slots.append(try last.cloned())
        } else if last.requiresGrad || slots[next].requiresGrad {
            // Overwriting would change what a gradient still needs.
            slots[next] = last
        } else {
            try slots[next].copy(from: last)
        }
        next += 1
    }

    private func front(_ count: Int, of x: Tensor) throws(SwanError) -> Tensor {
        isStart ? try zeros(count, like: x) : slots[next]
    }

    private func zeros(_ count: Int, like x: Tensor) throws(SwanError) -> Tensor {
        var shape = x.shape
        shape[1] = count
        return try .zeros(shape, x.dtype, x.device)
    }
}
