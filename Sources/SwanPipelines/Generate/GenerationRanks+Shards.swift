import Foundation
import SwanCheckpoints
import SwanDistributed
import SwanSystem
import Torch

extension GenerationRanks {
    /// The ranks that share weights on a device with this one; nil if each has all of them. All
    /// ranks call this together.
    ///
    /// They compute the same branch of guidance, and so run the same blocks.
    func shards(on device: Device) throws -> ProcessGroup? {
        guard division.shard != .none else { return nil }
        let isOnCPU = device == .cpu
        if let known = lock.withLock({ shared[isOnCPU] }) { return known }
        let rows = try shardRows()
        // A new group waits in vain for a rank that has failed meanwhile; this barrier does not.
        try world.group.barrier()
        var own: ProcessGroup?
        for ranks in rows {
            if let group = try world.makeGroup(ranks, on: device) { own = group }
        }
        lock.withLock { shared[isOnCPU] = own }
        return own
    }

    /// The ranks that share weights, for each part of the job.
    private func shardRows() throws(SwanError) -> [[Int]] {
        let branches = division.dividesGuidance ? 2 : 1
        let count = size / branches
        let halves = (0..<branches).map { Array($0 * count..<($0 + 1) * count) }
        var rows = halves
        if division.shard == .hybrid {
            guard size.isMultiple(of: localSize) else {
                throw SwanError(
                    .invalidRequest,
                    "--shard hybrid needs the same number of ranks on every machine; there are "
                        + "\(size) ranks, \(localSize) on this machine"
                )
            }
            rows = halves.flatMap { half in
                Dictionary(grouping: half) { $0 / localSize }.sorted { $0.key < $1.key }.map(
                    \.value
                )
            }
        }
        guard rows.allSatisfy({ $0.count > 1 }) else {
            throw SwanError(
                .invalidRequest,
                "--shard \(division.shard): a rank has no other to share weights with; use more ranks"
                    + (branches > 1 ? ", or leave out --guidance-parallel" : "")
                    + (division.shard == .hybrid ? ", or use --shard full" : "")
            )
        }
        return rows
    }

    /// Throws if weights cannot be shared as a request needs it, before any are read.
    func requireShardable(
        _ options: GenerationOptions,
        tokens: Int,
        caches: Bool
    ) throws(SwanError) {
        guard division.shard != .none else { return }
        guard options.offload != .block else {
            throw SwanError(
                .invalidRequest,
                "--shard keeps a part of each block in memory and gathers it when it runs, "
                    + "--offload block reads it from disk then; leave one of them out"
            )
        }
        let sharing = division.dividesGuidance ? size / 2 : size
        // Ranks without tokens of their own may decide otherwise, and then wait for other blocks.
        guard !caches || tokens >= sharing else {
            throw SwanError(
                .invalidRequest,
                "\(tokens) tokens for \(sharing) ranks: --shard and --cache need at least one token "
                    + "for each rank; use fewer ranks, or a larger video"
            )
        }
    }
}

extension GenerationModel {
    /// The device on which a part runs.
    func device(of part: ModelFolder.Part) -> Device {
        part == .textEncoder && options.textEncoderOnCPU ? .cpu : device
    }
}
