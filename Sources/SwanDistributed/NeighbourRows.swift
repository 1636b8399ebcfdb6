import SwanModels
package import SwanSystem
package import Torch

/// The rows of pictures that each rank holds, and how layers get those of other ranks.
///
/// Rows keep their places in the tiles in which convolutions compute, so that they get the same
/// bits as in the whole picture.
package struct NeighbourRows: PictureRows {
    /// The ranks.
    package let group: ProcessGroup
    /// The rows of latents of each rank. Where a layer has several rows for one of them, so has
    /// each rank.
    package let shares: Shares

    /// Divides pictures of `count` rows of latents.
    package init(_ group: ProcessGroup, count: Int) {
        self.group = group
        shares = Self.shares(count, among: group.size)
    }

    /// The rows of a tile are a divisor of this: F(4, 3) of Winograd's filtering.
    private static let tile = 4

    /// Whole tiles for each rank, unless that would be much less even.
    private static func shares(_ count: Int, among ranks: Int) -> Shares {
        let (even, tiles) = (Shares(count, among: ranks), (count + tile - 1) / tile)
        let most = Shares(tiles, among: ranks).counts[0] * tile
        guard tiles >= ranks, 4 * most <= 5 * even.counts[0] else { return even }
        let ends = (0..<ranks).map { rank in
            min(count, Shares(tiles, among: ranks)[rank].upperBound * tile)
        }
        return Shares(counts: zip(ends, [0] + ends).map { $0 - $1 })
    }

    /// The rows of this rank.
    package var own: Range<Int> { shares[group.rank] }

    /// x [B, F, H, W, C] with rows of the ranks above and below, received in one exchange.
    package func extended(
        _ x: Tensor,
        above: Int,
        below: Int
    ) throws(SwanError) -> (x: Tensor, top: Int, bottom: Int) {
        let unit = x.size(2) / own.count
        let height = shares.counts.reduce(0, +) * unit
        let held = (0..<group.size).map { rank in
            shares[rank].lowerBound * unit..<shares[rank].upperBound * unit
        }
        let tile = Self.tile
        let seen = held.map { rows in
            let first = rows.lowerBound / tile * tile - (above + tile - 1) / tile * tile
            let last = (rows.upperBound + tile - 1) / tile * tile + below
            return max(0, first)..<min(height, last)
        }
        let (mine, rank) = (held[group.rank], group.rank)
        let others = (0..<group.size).filter { $0 != rank }
        var (sent, received) = (seen.map { _ in 0 }, seen.map { _ in 0 })
        var pieces: [Tensor] = []
        let row = x.count / x.size(2)
        for other in others {
            received[other] = held[other].clamped(to: seen[rank]).count * row
            let rows = mine.clamped(to: seen[other])
            guard !rows.isEmpty else { continue }
            sent[other] = rows.count * row
            let first = rows.lowerBound - mine.lowerBound
            pieces.append(try x.narrowed(2, first, rows.count).reshaped([-1]))
        }
        if pieces.isEmpty { pieces = [try .empty([0], x.dtype, x.device)] }
        let arrived = try group.exchanged(concatenated(pieces), sent: sent, received: received)
        var shape = x.shape
        let parts = try zip(0..., arrived.split(received, dim: 0)).map {
            other,
            part throws(SwanError) in
            if other == rank { return x }
            shape[2] = received[other] / row
            return try part.reshaped(shape)
        }
        let used = parts.enumerated()
            .filter { $0.offset == rank || received[$0.offset] > 0 }.map(\.element)
        let (top, bottom) = (
            mine.lowerBound - seen[rank].lowerBound, seen[rank].upperBound - mine.upperBound
        )
        return (try concatenated(used, dim: 2), top, bottom)
    }

    /// The rows of all ranks.
    package func whole(_ x: Tensor) throws(SwanError) -> Tensor { try gathered(x, dim: 2) }

    /// The rows, in dimension `dim`, of all ranks.
    func gathered(_ x: Tensor, dim: Int) throws(SwanError) -> Tensor {
        let unit = x.size(dim) / own.count
        let counts = shares.counts.map { $0 * unit }
        return try group.gathered(x.transposed(0, dim), counts: counts, isSame: true)
            .transposed(0, dim)
    }
}
