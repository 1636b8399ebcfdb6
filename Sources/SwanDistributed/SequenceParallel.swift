package import SwanModels
package import SwanSystem
package import Torch
import TorchNN

/// The tokens of a video divided among ranks: each runs all blocks on its own.
///
/// Attention exchanges heads for tokens inside groups of neighbours (Ulysses), and passes keys and
/// values around a ring of such groups where there are more ranks than heads. Text and images are
/// whole on every rank, so cross-attention exchanges nothing.
package struct SequenceParallel: Sendable {
    /// All ranks that share the tokens.
    package let group: ProcessGroup
    /// Ranks that exchange heads, next to each other; nil for a ring alone.
    private let heads: HeadExchange?
    /// Ranks with the same heads, one from each group that exchanges them; nil without a ring.
    private let ring: RingAttention?

    /// Divides tokens among the ranks of `group`.
    ///
    /// - Parameters:
    ///   - heads: A group of `group`'s ranks 0..<n, n..<2n, ...; its size is at most the model's
    ///     number of heads.
    ///   - ring: The group of ranks at the same place in the groups of `heads`.
    package init(_ group: ProcessGroup, heads: ProcessGroup?, ring: ProcessGroup?) {
        self.group = group
        self.heads = heads.map(HeadExchange.init)
        self.ring = ring.map(RingAttention.init)
    }

    /// Makes the groups for some ranks of a world; nil on others. All ranks call this together.
    ///
    /// - Parameters:
    ///   - headCount: The model's number of heads, which limits the exchange of heads.
    ///   - exchanging: The number of ranks that exchange heads, a divisor of the number of ranks;
    ///     nil for as many as possible. The others pass keys and values around.
    package init?(
        _ world: World,
        ranks: [Int],
        headCount: Int,
        exchanging: Int? = nil
    ) throws(SwanError) {
        let width = exchanging ?? Self.width(ranks.count, headCount: headCount)
        guard width >= 1, ranks.count.isMultiple(of: width), width <= headCount else {
            throw SwanError(
                .invalidRequest,
                "\(width) of \(ranks.count) ranks cannot exchange \(headCount) heads: the number "
                    + "must divide that of the ranks and be at most that of the heads"
            )
        }
        let whole = try world.makeGroup(ranks)
        let rows = stride(from: 0, to: ranks.count, by: width).map { Array(ranks[$0..<$0 + width]) }
        var (heads, ring): (ProcessGroup?, ProcessGroup?)
        for row in rows where width > 1 {
            if let group = try world.makeGroup(row) { heads = group }
        }
        for column in 0..<width where rows.count > 1 {
            if let group = try world.makeGroup(rows.map { $0[column] }) { ring = group }
        }
        guard let whole else { return nil }
        self.init(whole, heads: heads, ring: ring)
    }

    /// The largest number of ranks that exchange heads, so that each has at least one.
    package static func width(_ ranks: Int, headCount: Int) -> Int {
        (1...min(ranks, headCount)).last { ranks.isMultiple(of: $0) } ?? 1
    }

    /// The operations of all groups so far, by kind.
    package var calls: [Traffic.Kind: Int] {
        let groups = [group, heads?.group, ring?.group].compactMap { $0 }
        return Dictionary(
            Traffic.Kind.allCases.flatMap { kind in
                groups.map { (kind, $0.traffic[kind].calls) }
            },
            uniquingKeysWith: +
        )
    }

    /// The tokens of each rank.
    package func shares(of count: Int) throws(SwanError) -> Shares {
        guard count >= group.size else {
            throw SwanError(
                .invalidRequest,
                "\(count) tokens cannot be divided among \(group.size) ranks; use fewer ranks, or a "
                    + "larger or longer video"
            )
        }
        return Shares(count, among: group.size)
    }

    /// Attends from own tokens to all: q, k, v [B, l, N, D] -> [B, l, N, D].
    package func attend(
        _ q: Tensor,
        _ k: Tensor,
        _ v: Tensor,
        _ shares: Shares
    ) throws(SwanError) -> Tensor {
        guard let heads else { return try across(q, k, v, shares.counts) }
        let width = heads.group.size
        let row = group.rank / width
        let tokens = Array(shares.counts[row * width..<(row + 1) * width])
        let rows = stride(from: 0, to: group.size, by: width).map { first in
            shares.counts[first..<first + width].reduce(0, +)
        }
        return try heads.attend(q, k, v, tokens: tokens) { q, k, v throws(SwanError) in
            try across(q, k, v, rows)
        }
    }

    /// Attention around the ring, or of this rank alone.
    private func across(
        _ q: Tensor,
        _ k: Tensor,
        _ v: Tensor,
        _ tokens: [Int]
    ) throws(SwanError) -> Tensor {
        guard let ring else { return try attention(q, k, v) }
        return try ring(q, k, v, tokens: tokens)
    }

    /// Puts the tokens [B, l, C] of all ranks together: [B, L, C].
    ///
    /// - Parameter isSame: Whether all ranks compute the same from the result; see
    ///   `ProcessGroup.gathered`.
    package func whole(
        _ x: Tensor,
        _ shares: Shares,
        isSame: Bool = true
    ) throws(SwanError) -> Tensor {
        try group.gathered(x.transposed(0, 1), counts: shares.counts, isSame: isSame)
            .transposed(0, 1)
    }

    /// A cache whose decision to reuse is the same on all ranks: they average what they see.
    package func makeCache(threshold: Double) -> FirstBlockCache {
        FirstBlockCache(threshold: threshold) { [group] change, threshold throws(SwanError) in
            let count = Double(change.count)
            let sums = try Tensor(
                [change.change * count, change.magnitude * count, count],
                [3]
            ).to(group.device)
            try group.reduce(sums)
            let values = try sums.array(of: Double.self)
            return values[0] < threshold * values[1]
        }
    }
}
