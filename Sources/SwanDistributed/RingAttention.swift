package import SwanSystem
package import Torch

/// Attention with the keys and values passed around a ring of ranks.
///
/// Ring attention, https://arxiv.org/abs/2310.01889: each rank attends to one part after the other
/// and merges the results by their log-sum-exp, in float32. Has no gradient.
package struct RingAttention: Sendable {
    /// The ranks.
    package let group: ProcessGroup

    /// Creates attention over a ring.
    package init(_ group: ProcessGroup) { self.group = group }

    /// Attends from own tokens to those of all ranks.
    ///
    /// - Parameters:
    ///   - q: Queries [B, l, N, D]; keys and values likewise.
    ///   - tokens: The number of tokens of each rank.
    package func callAsFunction(
        _ q: Tensor,
        _ k: Tensor,
        _ v: Tensor,
        tokens: [Int]
    ) throws(SwanError) -> Tensor {
        let (rank, size) = (group.rank, group.size)
        let query = try q.transposed(1, 2)
        var pair = try stacked([k, v])  // [2, B, l, N, D]
        var merged: (result: Tensor, sums: Tensor)?
        for step in 0..<size {
            // The next part comes while this one is attended to.
            let source = (rank + step + 1) % size
            let next = step < size - 1 ? try startPass(pair, tokens[source]) : nil
            let parts = try pair.unbound(0)
            let part = try attentionWithSums(
                query,
                parts[0].transposed(1, 2),
                parts[1].transposed(1, 2)
            )
            if let old = merged { merged = try merge(old, part) } else { merged = part }
            guard let next else { break }
            try next.work.wait()
            pair = next.pair
        }
        guard let merged else { return q }
        return try merged.result.to(q.dtype).transposed(1, 2)
    }

    /// Starts to pass keys and values on to the previous rank and to receive `count` of the next.
    private func startPass(
        _ pair: Tensor,
        _ count: Int
    ) throws(SwanError) -> (pair: Tensor, work: ProcessWork) {
        var shape = pair.shape
        shape[2] = count
        let next = try Tensor.empty(shape, pair.dtype, pair.device)
        var sent = [Int](repeating: 0, count: group.size)
        var received = sent
        sent[(group.rank + group.size - 1) % group.size] = pair.count
        received[(group.rank + 1) % group.size] = next.count
        let work = try group.startExchange(
            pair.reshaped([-1]),
            sent: sent,
            into: next.reshaped([-1]),
            received: received
        )
        return (next, work)
    }

    /// Attention to two sets of keys from that to each: results weighted by their sums of
    /// exponentials.
    private func merge(
        _ a: (result: Tensor, sums: Tensor),
        _ b: (result: Tensor, sums: Tensor)
    ) throws(SwanError) -> (result: Tensor, sums: Tensor) {
        let share = try (a.sums - b.sums).sigmoid().unsqueezed(-1)
        return (try b.result + (a.result - b.result) * share, try logAddExp(a.sums, b.sums))
    }
}
