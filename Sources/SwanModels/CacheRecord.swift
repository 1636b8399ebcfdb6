package import SwanSystem
package import Torch

/// One row of one block of a KV cache, to be moved to another cache.
package struct CacheRecord: Sendable {
    /// Keys and values [N, slots * tokens, D].
    package let keys, values: Tensor
    /// How the row is filled, in float64: [8 + 4 * slots].
    package let slots: Tensor

    /// Combines what another cache has given.
    package init(keys: Tensor, values: Tensor, slots: Tensor) {
        (self.keys, self.values, self.slots) = (keys, values, slots)
    }

    /// The number of numbers that describe how a row of `frames` latent frames is filled.
    package static func slotsCount(frames: Int) -> Int { header + 4 * frames }

    /// The numbers before the list of slots.
    private static let header = 8

    fileprivate static func encoded(
        _ row: BlockCache.Row,
        frames: Int
    ) throws(SwanError) -> Tensor {
        let room = 4 * frames
        let state: (slots: CacheSlots, lastListed: Int)
        switch row.slots {
        case .known(let slots): state = (slots, -1)
        case .decided(let slots): state = (try slots.known(), slots.lastListed ?? 0)
        }
        let (slots, list) = (state.slots, state.slots.evictable)
        guard list.count <= room else {
            throw SwanError(
                .invalidArgument,
                "\(list.count) slots are listed in a KV cache of \(frames) frames"
            )
        }
        let numbers =
            [
                slots.capacity, slots.sinks, slots.fill.count, slots.fill.end, row.pass,
                state.lastListed, list.count, 0,
            ] + list + Array(repeating: 0, count: room - list.count)
        return try Tensor(numbers.map(Double.init), [numbers.count])
    }

    fileprivate static func decoded(
        _ tensor: Tensor,
        on device: Device
    ) throws(SwanError) -> BlockCache.Row {
        let numbers = try tensor.array(of: Double.self).map { Int($0) }
        guard numbers.count >= header, 0...(numbers.count - header) ~= numbers[6] else {
            throw SwanError(
                .invalidData,
                "a row of a KV cache is described by \(numbers.count) numbers"
            )
        }
        var slots = CacheSlots(capacity: numbers[0], sinks: numbers[1])
        slots.fill = CacheFill(count: numbers[2], end: numbers[3])
        slots.evictable = Array(numbers[header..<header + numbers[6]])
        guard numbers[5] >= 0 else {
            return BlockCache.Row(slots: .known(slots), pass: numbers[4])
        }
        let decided = try SinkSlots(slots, on: device, lastListed: numbers[5])
        return BlockCache.Row(slots: .decided(decided), pass: numbers[4])
    }
}

extension KVCachePool {
    /// The row of a block, as views of this cache.
    ///
    /// Waits for the device if the next slot is known only there.
    package func record(of block: Int, row: CacheRow) throws(SwanError) -> CacheRecord {
        let cache = try cache(of: block)
        let index = try index(of: row)
        return CacheRecord(
            keys: try cache.keys.selected(0, index),
            values: try cache.values.selected(0, index),
            slots: try CacheRecord.encoded(cache.rows[index], frames: framesPerRow)
        )
    }

    /// Overwrites the row of a block.
    package mutating func restore(
        _ record: CacheRecord,
        block: Int,
        row: CacheRow
    ) throws(SwanError) {
        let cache = try cache(of: block)
        let index = try index(of: row)
        var (keys, values) = (
            try cache.keys.selected(0, index), try cache.values.selected(0, index)
        )
        try keys.copy(from: record.keys)
        try values.copy(from: record.values)
        blocks[block - blockRange.lowerBound].rows[index] = try CacheRecord.decoded(
            record.slots,
            on: cache.keys.device
        )
    }

    /// Serves another range of blocks; the rows of those that are new are empty until `restore`.
    package mutating func serve(_ range: Range<Int>) throws(SwanError) {
        guard let example = blocks.first else {
            throw SwanError(.invalidArgument, "a KV cache without blocks cannot serve \(range)")
        }
        var served: [BlockCache] = []
        for block in range {
            if blockRange.contains(block) {
                served.append(blocks[block - blockRange.lowerBound])
            } else {
                served.append(try example.emptied())
            }
        }
        blocks = served
        blockRange = range
    }

    private func cache(of block: Int) throws(SwanError) -> BlockCache {
        guard blockRange.contains(block) else {
            throw SwanError(
                .invalidArgument,
                "the KV cache is for blocks \(blockRange), not for block \(block)"
            )
        }
        return blocks[block - blockRange.lowerBound]
    }
}

extension BlockCache {
    /// A cache of the same shape with memory of its own.
    fileprivate func emptied() throws(SwanError) -> BlockCache {
        var other = self
        other.replaceStorage(try keys.zerosLike(), try values.zerosLike())
        return other
    }
}
