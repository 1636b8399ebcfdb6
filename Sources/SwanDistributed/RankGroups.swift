import Foundation
package import SwanSystem
package import Torch

/// Groups of as many neighbouring ranks as something can be divided among.
///
/// Where there are more ranks than parts, several groups compute the same.
package final class RankGroups: @unchecked Sendable {
    private let world: World?
    /// The only group; nil if groups are made.
    private let only: ProcessGroup?
    private let lock = NSLock()
    private var made: [Int: ProcessGroup?] = [:]

    /// Creates groups of a world's ranks, when they are needed.
    package init(_ world: World) { (self.world, only) = (world, nil) }

    /// Uses one group of ranks. Where there are fewer parts than ranks, each computes the whole.
    package init(_ group: ProcessGroup) { (world, only) = (nil, group) }

    /// This rank's group of up to `width` ranks; nil if it is alone. All ranks call this together.
    package func group(of width: Int) throws(SwanError) -> ProcessGroup? {
        guard let world else { return only.flatMap { $0.size <= width ? $0 : nil } }
        let width = min(width, world.size)
        if let group = lock.withLock({ made[width] }) { return group }
        // A new group waits in vain for a rank that has failed meanwhile; this barrier does not.
        try world.group.barrier()
        var own: ProcessGroup?
        for ranks in Self.slices(Array(0..<world.size), width: width) where ranks.count > 1 {
            if let group = try world.makeGroup(ranks) { own = group }
        }
        lock.withLock { made[width] = .some(own) }
        return own
    }

    /// The ranks in groups of `width`; the last group may be smaller.
    package static func slices(_ ranks: [Int], width: Int) -> [[Int]] {
        stride(from: 0, to: ranks.count, by: width).map { first in
            Array(ranks[first..<min(first + width, ranks.count)])
        }
    }
}
