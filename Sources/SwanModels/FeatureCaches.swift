import SwanSystem
import Torch

/// The state that a causal network over frames keeps between passes: for every layer with temporal
/// context, the last frames it read.
///
/// Layers use their slots in the order in which they run. The slots are allocated in the first pass
/// and overwritten in later ones, so that a stream's memory does not grow.
struct FeatureCaches: ~Copyable {
    /// Whether the pass is at the beginning of the video.
    private(set) var isStart = true
    /// Whether more passes follow.
    private let streams: Bool
    /// Whether layers are recomputed in the backward pass, so that their activations are not kept.
    private let recomputes: Bool
    /// What layers see beyond the rows that they compute; nil if these are the whole picture.
    let rows: (any PictureRows)?
    private var slots: [Tensor] = []
    private var next = 0

    /// Creates caches before the first frame; without `streams`, for one pass over a whole video.
    init(streams: Bool, recomputes: Bool = false, rows: (any PictureRows)? = nil) {
        self.streams = streams
        self.recomputes = recomputes && !streams
        self.rows = rows
    }

    /// Begins a pass through the network.
    mutating func beginPass() { next = 0 }

    /// Ends a pass; the next one continues with the frames after it.
    mutating func endPass() { isStart = false }

    /// Applies a layer to x.
    mutating func run(_ layer: any WanVAELayer, _ x: Tensor) throws(SwanError) -> Tensor {
        guard recomputes else { return try layer(x, &self) }
        return try recomputed { [rows] () throws(SwanError) in
            // A single pass over a whole video keeps no state.
            var caches = FeatureCaches(streams: false, rows: rows)
            return try layer(x, &caches)
        }
    }

    /// x [B, F, H, W, C] with the `count` frames before it prepended; at the start these are zeros.
    mutating func prepending(_ count: Int, to x: Tensor) throws(SwanError) -> Tensor {
        let joined = try concatenated([front(count, of: x), x], dim: 1)  // [B, count + F, H, W, C]
        try remember(joined.narrowed(1, joined.size(1) - count, count))
        return joined
    }

    /// x with the frame before it prepended; at the start, x alone.
    mutating func prependingLast(to x: Tensor) throws(SwanError) -> Tensor {
        let joined = isStart ? x : try concatenated([slots[next], x], dim: 1)
        try remember(joined.narrowed(1, joined.size(1) - 1, 1))
        return joined
    }

    /// Calls `body` with the `count` frames before x, nil at the start, without concatenating them
    /// with x.
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

    /// Keeps the last frames that a layer has read, and moves on to the next layer.
    private mutating func remember(_ last: Tensor) throws(SwanError) {
        guard streams else { return }
        if isStart {
            slots.append(try last.cloned())
        } else if last.requiresGrad || slots[next].requiresGrad {
            // Overwriting would change values that the backward pass still needs.
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
