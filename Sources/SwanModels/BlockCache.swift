import Torch
import TorchNN
import SwanSystem

/// One block's part of a `KVCachePool`.
struct BlockCache {
    private(set) var keys, values: Tensor  // [rows, N, slots * tokens, D]
    var rows: [Row]
    private let tokensPerFrame: Int

    struct Row {
        var slots: RowSlots
        /// The remaining passes over the slot taken last; see `CacheSlots.place(again:)`.
        var pass: Int
        /// The slots of the last chunk, and where in the stream it ends.
        var last: (end: Int, slots: PlacedSlots)?
    }

    init(
        _ shape: [Int],
        tokensPerFrame: Int,
        dtype: DType,
        device: Device
    ) throws(SwanError) {
        keys = try .zeros(shape, dtype, device)
        values = try .zeros(shape, dtype, device)
        self.tokensPerFrame = tokensPerFrame
        let unused = Row(slots: .known(CacheSlots(capacity: 0, sinks: 0)), pass: 1)
        rows = Array(repeating: unused, count: shape[0])
    }

    // MARK: - Rows

    /// Assigns an empty row to a stream.
    mutating func begin(_ row: Int, _ options: KVCacheOptions) {
        var slots = CacheSlots(capacity: options.frames, sinks: options.sinkFrames)
        slots.listsFirst = options.endsClean && options.sinkFrames == 0
        rows[row] = Row(slots: .known(slots), pass: options.passes)
    }

    /// Fills a row with zeros.
    func erase(_ row: Int) throws(SwanError) {
        var (k, v) = (try keys.selected(0, row), try values.selected(0, row))
        try k.fill(with: 0)
        try v.fill(with: 0)
    }

    /// Copies a row; `passes` restarts the count of passes over a slot.
    mutating func copy(
        _ source: Int,
        to target: Int,
        passes: Int? = nil
    ) throws(SwanError) {
        rows[target] = rows[source]
        if let passes { rows[target].pass = passes }
        var (k, v) = (try keys.selected(0, target), try values.selected(0, target))
        try k.copy(from: keys.selected(0, source))
        try v.copy(from: values.selected(0, source))
    }

    mutating func layOut(_ row: Int, framesPerChunk: Int) {
        rows[row].slots.layOut(framesPerChunk: framesPerChunk)
    }

    /// A cache with the same rows and `count` more.
    func grown(by count: Int) throws(SwanError) -> BlockCache {
        var larger = self
        let added = try keys.narrowed(0, 0, 1).zerosLike().repeated([count, 1, 1, 1])
        larger.keys = try concatenated([keys, added])
        larger.values = try concatenated([values, added])
        let unused = Row(slots: .known(CacheSlots(capacity: 0, sinks: 0)), pass: 1)
        larger.rows += Array(repeating: unused, count: count)
        return larger
    }

    /// Replaces the memory of all rows by tensors of the same shape.
    mutating func replaceStorage(_ keys: Tensor, _ values: Tensor) {
        (self.keys, self.values) = (keys, values)
    }

    // MARK: - Attention

    /// Stores k and v [B, L, N, D], each chunk in its slots, and attends to everything stored
    /// there.
    mutating func attend(
        _ q: Tensor,
        _ k: Tensor,
        _ v: Tensor,
        _ places: [CachePlace]
    ) throws(SwanError) -> Tensor {
        let (k, v) = (try k.transposed(1, 2), try v.transposed(1, 2))  // [B, N, L, D]
        for (index, place) in places.enumerated() {
            try store(k.selected(0, index), v.selected(0, index), place)
        }
        return try attend(q, places.map(\.row))
    }

    private mutating func store(
        _ k: Tensor,
        _ v: Tensor,
        _ place: CachePlace
    ) throws(SwanError) {
        var row = rows[place.row]
        defer { rows[place.row] = row }
        try row.slots.prepare(for: place, on: keys.device)
        if place.options.refreshesSinks(frames: place.frames) {
            try row.slots.refresh(similarity(to: k, v, place), below: place.options.sinkThreshold)
        }
        let end = place.firstFrame + place.frames
        if place.options.endsClean, let last = row.last, last.end == end {
            return try write(k, v, to: last.slots, place)
        }
        // If one row runs all steps of a chunk, they all use the same slots.
        let passes = place.options.passes
        let isFull = row.slots.isFull(at: end)
        let again = isFull && passes > 1 && row.pass > 1 && !place.options.endsClean
        if isFull { row.pass = again ? row.pass - 1 : passes }
        let slots = try row.slots.place(start: place.firstFrame, frames: place.frames, again: again)
        guard let slots else {
            throw SwanError(
                .invalidArgument,
                "a chunk of \(place.frames) latent frames does not fit a KV cache of "
                    + "\(place.options.frames) frames of which \(place.options.sinkFrames) are sinks"
            )
        }
        row.last = (end, slots)
        try write(k, v, to: slots, place)
    }

    private func write(
        _ k: Tensor,
        _ v: Tensor,
        to slots: PlacedSlots,
        _ place: CachePlace
    ) throws(SwanError) {
        try slots.write(k, to: keys.selected(0, place.row), tokensPerFrame)
        try slots.write(v, to: values.selected(0, place.row), tokensPerFrame)
    }

    /// The similarity of a new frame's keys and values [N, L, D] to those of each sink: [sinks].
    private func similarity(
        to k: Tensor,
        _ v: Tensor,
        _ place: CachePlace
    ) throws(SwanError) -> Tensor {
        let sinks = place.options.sinkFrames
        return try
            (similarity(of: keys.selected(0, place.row), to: k, sinks)
            + similarity(of: values.selected(0, place.row), to: v, sinks)) / 2
    }

    /// The cosine similarity of the mean over tokens of each sink slot to that of a new frame:
    /// [sinks].
    private func similarity(
        of stored: Tensor,
        to new: Tensor,
        _ sinks: Int
    ) throws(SwanError) -> Tensor {
        let means = try stored.narrowed(1, 0, sinks * tokensPerFrame)  // [N, sinks * L, D]
            .unflattened(1, [sinks, tokensPerFrame]).mean([2])  // [N, sinks, D]
            .transposed(0, 1).flattened(from: 1)  // [sinks, N * D]
        let mean = try new.mean([1]).flattened().unsqueezed(0)  // [1, N * D]
        return try cosineSimilarity(means, mean, dim: -1).to(.float32)
    }

    /// Attention of q [B, L, N, D] over the tokens stored in the rows `used`.
    ///
    /// Adjacent rows with the same number of tokens are attended to in one call.
    private func attend(_ q: Tensor, _ used: [Int]) throws(SwanError) -> Tensor {
        var parts: [Tensor] = []
        var first = 0
        while first < used.count {
            var end = first + 1
            while end < used.count, used[end] == used[end - 1] + 1 { end += 1 }
            let tokens = used[first..<end].map { rows[$0].slots.count * tokensPerFrame }
            if tokens.allSatisfy({ $0 == tokens[0] }) {
                parts.append(try attend(q, first..<end, used[first], tokens[0]))
            } else {
                for index in first..<end {
                    parts.append(
                        try attend(q, index..<index + 1, used[index], tokens[index - first])
                    )
                }
            }
            first = end
        }
        return parts.count == 1 ? parts[0] : try concatenated(parts)
    }

    /// Attention of the queries in `range` of the batch over the first `tokens` of the rows from
    /// `row` on.
    private func attend(
        _ q: Tensor,
        _ range: Range<Int>,
        _ row: Int,
        _ tokens: Int
    ) throws(SwanError) -> Tensor {
        try attentionByHead(
            q.narrowed(0, range.lowerBound, range.count).transposed(1, 2),
            keys.narrowed(0, row, range.count).narrowed(2, 0, tokens),
            values.narrowed(0, row, range.count).narrowed(2, 0, tokens)
        ).transposed(1, 2)
    }
}
