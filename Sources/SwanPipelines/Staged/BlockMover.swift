import SwanDistributed
import SwanModels
import SwanSystem
import Torch

/// Sends and receives the caches of blocks, from rank to rank, on a group of their own.
struct BlockMover: Sendable {
    /// The group of all ranks; nil if there is one rank.
    let group: ProcessGroup?
    /// The ranks that run the transformer.
    let stages: Range<Int>
    let setup: StageSetup

    /// Starts to send blocks to the ranks that hold them in `map`.
    func send(
        _ blocks: [Int],
        to map: BlockMap,
        _ network: borrowing StageNetwork
    ) throws(SwanError) -> [ProcessWork] {
        var works: [ProcessWork] = []
        for block in blocks {
            for (index, row) in network.cacheRows.enumerated() {
                let record = try network.cache.record(of: block, row: row)
                works += try send(
                    record,
                    to: map.owner(of: block),
                    number: block * network.cacheRows.count + index
                )
            }
        }
        return works
    }

    /// Starts to send one row of one block.
    ///
    /// - Parameters:
    ///   - place: The place of the receiver among the ranks that run the transformer.
    ///   - number: Tells the receiver's rows apart.
    func send(
        _ record: CacheRecord,
        to place: Int,
        number: Int
    ) throws(SwanError) -> [ProcessWork] {
        guard let group else { return [] }
        var works: [ProcessWork] = []
        for (index, tensor) in [record.slots, record.keys, record.values].enumerated() {
            works.append(
                try group.startSend(
                    tensor.to(.cpu).contiguous(),
                    to: stages.lowerBound + place,
                    tag: 1 + 3 * number + index
                )
            )
        }
        return works
    }

    /// Receives all rows of a block from the rank at `place`.
    func receive(
        _ block: Int,
        from place: Int,
        _ network: inout StageNetwork
    ) throws(SwanError) {
        let rows = network.cacheRows
        for (index, row) in rows.enumerated() {
            let record = try receive(
                from: place,
                number: block * rows.count + index,
                network.transformer.config
            )
            try network.cache.restore(record, block: block, row: row)
        }
    }

    /// Receives one row of one block.
    func receive(
        from place: Int,
        number: Int,
        _ config: WanConfig
    ) throws(SwanError) -> CacheRecord {
        guard let group else {
            throw SwanError(
                .invalidArgument,
                "the cache of a moved block is expected, but there is no other rank to send it"
            )
        }
        let frames = setup.cache.frames
        let shape = [config.heads, frames * setup.tokensPerFrame, config.headDim]
        let tensors = [
            try Tensor.empty([CacheRecord.slotsCount(frames: frames)], .float64),
            try Tensor.empty(shape, setup.dtype), try Tensor.empty(shape, setup.dtype),
        ]
        var works: [ProcessWork] = []
        for (index, tensor) in tensors.enumerated() {
            works.append(
                try group.startReceive(
                    tensor,
                    from: stages.lowerBound + place,
                    tag: 1 + 3 * number + index
                )
            )
        }
        for work in works { try work.wait() }
        return CacheRecord(keys: tensors[1], values: tensors[2], slots: tensors[0])
    }
}
