import Foundation
package import SwanDistributed
package import SwanSystem
import Torch

/// The processes of a training run, and the groups in which they add gradients and share weights.
///
/// Rank r is place r % sequence of data group r / sequence. All ranks make this value, and then run
/// the same stages in the same order.
package final class TrainingRanks: Sendable {
    /// All processes.
    let world: World
    /// The groups of ranks that compute different micro-batches, and this rank's number.
    let data: (count: Int, index: Int)
    /// The ranks that share the tokens of a micro-batch, and this rank's number.
    let sequence: (count: Int, index: Int)
    /// How weights are kept.
    let sharding: Sharding
    /// All ranks, for gradients.
    let all: ProcessGroup?
    /// The ranks at this place of their sequences; nil if there is one.
    let peers: ProcessGroup?
    /// The ranks that share weights; nil if each has all of them.
    let shards: ProcessGroup?
    /// The ranks that have the same part of the weights; nil if there is one.
    let replicas: ProcessGroup?
    /// All ranks, for tokens.
    private let rows: [[Int]]

    /// Makes the groups; all processes of a world call this together.
    ///
    /// - Throws: `invalidRequest` if the options do not fit the number of processes.
    package init(_ world: World, _ options: ParallelOptions) throws(SwanError) {
        let size = world.size
        let (data, sequence) = try options.shape(for: size)
        self.world = world
        self.data = (data, world.rank / sequence)
        self.sequence = (sequence, world.rank % sequence)
        sharding = options.shard ?? .none
        rows = stride(from: 0, to: size, by: sequence).map { Array($0..<$0 + sequence) }
        func group(among lists: [[Int]]) throws(SwanError) -> ProcessGroup? {
            var own: ProcessGroup?
            for ranks in lists where ranks.count > 1 {
                if let group = try world.makeGroup(ranks) { own = group }
            }
            return own
        }
        all = try group(among: [Array(0..<size)])
        peers = try group(
            among: (0..<sequence).map { place in (0..<data).map { $0 * sequence + place } }
        )
        let width = try Self.shardWidth(sharding, world, sequence)
        let hosts = stride(from: 0, to: size, by: width).map { Array($0..<$0 + width) }
        shards = try group(among: hosts)
        replicas = try group(
            among: (0..<width).map { place in hosts.map { $0[place] } }
        )
    }

    /// The number of ranks that share the weights.
    private static func shardWidth(
        _ sharding: Sharding,
        _ world: World,
        _ sequence: Int
    ) throws(SwanError) -> Int {
        guard sharding != .none else { return 1 }
        guard sharding == .hybrid else { return world.size }
        let width = world.launch.localSize
        guard world.size.isMultiple(of: width),
            width.isMultiple(of: sequence) || sequence.isMultiple(of: width)
        else {
            throw SwanError(
                .invalidRequest,
                "parallel.shard: hybrid needs the same number of ranks on every machine, and that "
                    + "number or parallel.sequence as a multiple of the other; there are "
                    + "\(world.size) ranks, \(width) on this machine, and sequence is \(sequence)"
            )
        }
        return width
    }

    /// Whether this is the rank that writes files and reports progress.
    package var isFirst: Bool { world.rank == 0 }
    /// Whether several ranks share the tokens of a micro-batch.
    package var dividesTokens: Bool { sequence.count > 1 }

    /// Throws `invalidRequest` if the tokens of a transformer with `headCount` heads cannot be
    /// divided among the ranks of a sequence.
    package func requireHeads(_ headCount: Int) throws(SwanError) {
        guard sequence.count > headCount else { return }
        throw SwanError(
            .invalidRequest,
            "parallel.sequence is \(sequence.count), but the transformer has \(headCount) heads; "
                + "training divides tokens among at most as many ranks"
        )
    }

    /// Makes what divides the tokens of a transformer; nil if they are not divided. All ranks call
    /// this together.
    ///
    /// - Parameter headCount: The transformer's number of heads: passing keys around a ring has no
    ///   gradient, so each rank of a sequence needs a head.
    package func sequenceParallel(headCount: Int) throws(SwanError) -> SequenceParallel? {
        guard sequence.count > 1 else { return nil }
        try requireHeads(headCount)
        var own: SequenceParallel?
        for ranks in rows {
            let made = try SequenceParallel(world, ranks: ranks, headCount: headCount)
            own = own ?? made
        }
        return own
    }
}
