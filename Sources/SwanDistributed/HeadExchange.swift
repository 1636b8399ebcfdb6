package import SwanSystem
package import Torch

/// Ulysses: between a rank's tokens with all heads, and its heads with all tokens.
///
/// DeepSpeed-Ulysses, https://arxiv.org/abs/2309.14509, here with any number of tokens and heads:
/// shares need not be equal. One exchange carries queries, keys and values.
package struct HeadExchange: Sendable {
    /// The ranks.
    package let group: ProcessGroup

    /// Creates an exchange.
    package init(_ group: ProcessGroup) { self.group = group }

    /// Attends with each rank computing some heads: q, k, v [B, l, N, D] of own tokens -> [B, l, N,
    /// D].
    ///
    /// - Parameters:
    ///   - tokens: The number of tokens of each rank.
    ///   - attend: Attention of all tokens [B, L, n, D] with this rank's heads.
    package func attend(
        _ q: Tensor,
        _ k: Tensor,
        _ v: Tensor,
        tokens: [Int],
        by attend: (Tensor, Tensor, Tensor) throws(SwanError) -> Tensor
    ) throws(SwanError) -> Tensor {
        let heads = Shares(q.size(2), among: group.size).counts
        let packed = try stacked([q, k, v], dim: 3)  // [B, l, N, 3, D]
        let whole = try toHeads(packed, tokens, heads)  // [B, L, n, 3, D]
        let parts = try whole.unbound(3)
        let result = try attend(parts[0], parts[1], parts[2])  // [B, L, n, D]
        return try toTokens(result, tokens, heads)
    }

    /// [B, l, N, ...] of own tokens -> [B, L, n, ...] of own heads.
    private func toHeads(
        _ x: Tensor,
        _ tokens: [Int],
        _ heads: [Int]
    ) throws(SwanError) -> Tensor {
        let rank = group.rank
        let (b, rest) = (x.size(0), Array(x.shape[3...]))
        let element = b * rest.reduce(1, *)
        let pieces = try x.split(heads, dim: 2).map { piece throws(SwanError) in
            try piece.reshaped([-1])
        }
        let arrived = try group.exchanged(
            concatenated(pieces),
            sent: heads.map { $0 * tokens[rank] * element },
            received: tokens.map { $0 * heads[rank] * element }
        )
        let counts = tokens.map { $0 * heads[rank] * element }
        let parts = try zip(arrived.split(counts, dim: 0), tokens).map {
            part,
            count throws(SwanError) in
            try part.reshaped([b, count, heads[rank]] + rest)
        }
        return try concatenated(parts, dim: 1)
    }

    /// [B, L, n, D] of own heads -> [B, l, N, D] of own tokens.
    private func toTokens(
        _ x: Tensor,
        _ tokens: [Int],
        _ heads: [Int]
    ) throws(SwanError) -> Tensor {
        let rank = group.rank
        let (b, d) = (x.size(0), x.size(3))
        let pieces = try x.split(tokens, dim: 1).map { piece throws(SwanError) in
            try piece.reshaped([-1])
        }
        let counts = heads.map { $0 * tokens[rank] * b * d }
        let arrived = try group.exchanged(
            concatenated(pieces),
            sent: tokens.map { $0 * heads[rank] * b * d },
            received: counts
        )
        let parts = try zip(arrived.split(counts, dim: 0), heads).map {
            part,
            count throws(SwanError) in
            try part.reshaped([b, tokens[rank], count, d])
        }
        return try concatenated(parts, dim: 2)
    }
}
