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
    private var slots: [Tensor] = []
    private var next = 0

    /// Caches before the first frame; without `streams` for one pass over a whole video.
    init(streams: Bool) { self.streams = streams }

    /// Begins a pass through the network.
    mutating func beginPass() { next = 0 }

    /// Ends a pass; the next one goes on with the frames after it.
    mutating func endPass() { isStart = false }

    /// x [B, F, H, W, C] after the `count` frames before it, which are zeros at the start.
    mutating func prepending(_ count: Int, to x: Tensor) throws(TorchError) -> Tensor {
        let front = isStart ? try zeros(count, like: x) : slots[next]
        let joined = try concatenated([front, x], dim: 1)  // [B, count + F, H, W, C]
        try remember(count, of: joined)
        return joined
    }

    /// x after the one frame before it; at the start x alone.
    mutating func prependingLast(to x: Tensor) throws(TorchError) -> Tensor {
        let joined = isStart ? x : try concatenated([slots[next], x], dim: 1)
        try remember(1, of: joined)
        return joined
    }

    private mutating func remember(_ count: Int, of joined: Tensor) throws(TorchError) {
        guard streams else { return }
        let last = try joined.narrowed(1, joined.size(1) - count, count)
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

    private func zeros(_ count: Int, like x: Tensor) throws(TorchError) -> Tensor {
        var shape = x.shape
        shape[1] = count
        return try .zeros(shape, x.dtype, x.device)
    }
}
