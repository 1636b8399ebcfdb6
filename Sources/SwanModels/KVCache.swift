import Torch
import TorchNN

/// The keys and values of a stream's past, for every block of a causal transformer.
///
/// Each row of the stream batch has a ring of slots, one slot a latent frame. A new frame overwrites a
/// slot in place; nothing is rolled, cloned or grown, because attention does not depend on the order of
/// keys and a key carries its position in it. All indices are host integers.
public struct KVCache: ~Copyable {
    private var blocks: [BlockCache]

    /// The rows, one for each denoising step that runs at once.
    public let rows: Int
    /// The rows in use; `spread` raises it to `rows`.
    private var activeRows = 1
    private let options: KVCacheOptions

    /// An empty cache of fixed size.
    public init(
        _ config: WanConfig,
        rows: Int,
        tokensPerFrame: Int,
        options: KVCacheOptions,
        dtype: DType = .float32,
        device: Device = .cpu
    ) throws(TorchError) {
        self.rows = rows
        self.options = options
        blocks = []
        for _ in 0..<config.layers {
            let shape = [rows, config.heads, options.frames * tokensPerFrame, config.headDim]
            blocks.append(
                BlockCache(
                    keys: try .zeros(shape, dtype, device),
                    values: try .zeros(shape, dtype, device),
                    slots: Array(
                        repeating: CacheSlots(capacity: options.frames, sinks: options.sinkFrames),
                        count: rows
                    ),
                    tokensPerFrame: tokensPerFrame,
                    pass: options.passes
                )
            )
        }
    }

    /// Bytes of all keys and values.
    public var byteCount: Int {
        blocks.reduce(0) { $0 + $1.keys.byteCount + $1.values.byteCount }
    }

    /// Copies the first row into all others; from then on every row is written.
    public mutating func spread() throws(TorchError) {
        for index in blocks.indices { try blocks[index].spread() }
        activeRows = rows
    }

    /// Prepares for chunks of another number of frames.
    public mutating func relist(frames: Int) {
        for index in blocks.indices { blocks[index].relist(frames: frames) }
    }

    /// The frames that may be overwritten in a row of a block, by the end of their slots, the next first.
    func evictable(block: Int, row: Int) -> [Int] { blocks[block].slots[row].evictable }

    /// A block's keys by slot [rows, N, slots * tokens, D].
    func keys(block: Int) -> Tensor { blocks[block].keys }

    /// Stores the chunk's keys and values [B, L, N, D] and attends to all that is stored.
    mutating func attend(
        _ block: Int,
        _ q: Tensor,
        _ k: Tensor,
        _ v: Tensor,
        firstFrames: [Int],
        frames: Int,
        firstRow: Int
    ) throws(TorchError) -> Tensor {
        // A single row runs all steps of a chunk one after the other, over the same slots.
        try blocks[block].attend(
            q,
            k,
            v,
            firstFrames: firstFrames,
            frames: frames,
            firstRow: firstRow,
            options: options,
            passes: activeRows == 1 ? options.passes : 1
        )
    }
}

/// The size and the rules of a KV cache.
public struct KVCacheOptions: Sendable, Equatable {
    /// Latent frames a row holds.
    public var frames: Int
    /// The first frames, which are kept.
    public var sinkFrames: Int
    /// Similarity under which a sink frame gives way to a new one; negative for never.
    public var sinkThreshold: Double
    /// How often each chunk passes over one row: the steps, without stream batch.
    public var passes: Int

    /// The size and the rules of a KV cache.
    public init(frames: Int, sinkFrames: Int, sinkThreshold: Double = -1, passes: Int = 1) {
        self.frames = frames
        self.sinkFrames = sinkFrames
        self.sinkThreshold = sinkThreshold
        self.passes = passes
    }
}

/// One block's part of a KV cache.
private struct BlockCache {
    var keys, values: Tensor  // [rows, N, slots * tokens, D]
    var slots: [CacheSlots]
    let tokensPerFrame: Int
    /// Passes that are left over the slot that was taken last; see `CacheSlots.place(again:)`.
    var pass: Int

    mutating func spread() throws(TorchError) {
        for row in 1..<max(1, slots.count) {
            slots[row] = slots[0]
            var (k, v) = (try keys.selected(0, row), try values.selected(0, row))
            try k.copy(from: keys.selected(0, 0))
            try v.copy(from: values.selected(0, 0))
        }
    }

    mutating func relist(frames: Int) {
        for row in slots.indices { slots[row].relist(frames: frames) }
    }

    mutating func attend(
        _ q: Tensor,
        _ k: Tensor,
        _ v: Tensor,
        firstFrames: [Int],
        frames: Int,
        firstRow: Int,
        options: KVCacheOptions,
        passes: Int
    ) throws(TorchError) -> Tensor {
        let (k, v) = (try k.transposed(1, 2), try v.transposed(1, 2))  // [B, N, L, D]
        let rows = firstRow..<firstRow + firstFrames.count
        for (row, start) in zip(rows, firstFrames) {
            let (newK, newV) = (
                try k.selected(0, row - firstRow), try v.selected(0, row - firstRow)
            )
            if options.sinkFrames > 0, options.sinkThreshold > -1, frames == 1 {
                try refreshSink(row, newK, newV, options)
            }
            try store(row, newK, newV, start: start, frames: frames, passes: passes)
        }
        return try attend(q, rows)
    }

    private mutating func store(
        _ row: Int,
        _ k: Tensor,
        _ v: Tensor,
        start: Int,
        frames: Int,
        passes: Int
    ) throws(TorchError) {
        let full = slots[row].isFull(at: start + frames)
        let again = full && passes > 1 && pass > 1
        if full { pass = again ? pass - 1 : passes }
        guard let range = slots[row].place(start: start, frames: frames, again: again) else {
            throw TorchError(
                .invalidArgument,
                "a chunk of \(frames) latent frames does not fit a KV cache of "
                    + "\(slots[row].capacity) frames of which \(slots[row].sinks) are sinks"
            )
        }
        let (first, length) = (range.lowerBound * tokensPerFrame, range.count * tokensPerFrame)
        var (targetK, targetV) = (
            try keys.selected(0, row).narrowed(1, first, length),
            try values.selected(0, row).narrowed(1, first, length)
        )
        try targetK.copy(from: k)
        try targetV.copy(from: v)
    }

    /// Lets the new frame replace the sink frame it is least like, if that is below the threshold.
    private mutating func refreshSink(
        _ row: Int,
        _ k: Tensor,
        _ v: Tensor,
        _ options: KVCacheOptions
    ) throws(TorchError) {
        let similarity =
            try
            (similarity(of: keys.selected(0, row), to: k, options.sinkFrames)
            + similarity(of: values.selected(0, row), to: v, options.sinkFrames)) / 2
        let host = try similarity.array(of: Float.self)
        guard let least = host.indices.min(by: { host[$0] < host[$1] }),
            Double(host[least]) < options.sinkThreshold
        else { return }
        slots[row].refresh(sink: least)
    }

    /// The cosine between the mean over tokens of each sink slot and of a new frame: [sinks].
    private func similarity(
        of stored: Tensor,
        to new: Tensor,
        _ sinks: Int
    ) throws(TorchError) -> Tensor {
        let means = try stored.narrowed(1, 0, sinks * tokensPerFrame)  // [N, sinks * L, D]
            .unflattened(1, [sinks, tokensPerFrame]).mean([2])  // [N, sinks, D]
            .transposed(0, 1).flattened(from: 1)  // [sinks, N * D]
        let mean = try new.mean([1]).flattened().unsqueezed(0)  // [1, N * D]
        return try cosineSimilarity(means, mean, dim: -1).to(.float32)
    }

    /// q [B, L, N, D] over each row's own stored frames.
    private func attend(_ q: Tensor, _ rows: Range<Int>) throws(TorchError) -> Tensor {
        let counts = slots[rows].map { $0.count * tokensPerFrame }
        guard let first = counts.first, counts.contains(where: { $0 != first }) else {
            return try attend(q, rows.lowerBound, rows.count, counts.first ?? 0)
        }
        var parts: [Tensor] = []
        for (index, count) in counts.enumerated() {
            parts.append(try attend(q.narrowed(0, index, 1), rows.lowerBound + index, 1, count))
        }
        return try concatenated(parts)
    }

    private func attend(
        _ q: Tensor,
        _ row: Int,
        _ rows: Int,
        _ tokens: Int
    ) throws(TorchError) -> Tensor {
        try attentionByHead(
            q.transposed(1, 2),
            keys.narrowed(0, row, rows).narrowed(2, 0, tokens),
            values.narrowed(0, row, rows).narrowed(2, 0, tokens)
        ).transposed(1, 2)
    }
}
