public import SwanSystem
public import Torch

/// Computes softmax(q k^T / sqrt(D)) v for q [B, Lq, N, D], k and v [B, Lk, N, D] -> [B, Lq, N, D].
///
/// `mask` broadcasts to [B, N, Lq, Lk] and is added to the scores; a boolean mask keeps the true
/// ones.
public func attention(
    _ q: Tensor,
    _ k: Tensor,
    _ v: Tensor,
    mask: Tensor? = nil,
    scale: Double? = nil
) throws(SwanError) -> Tensor {
    let result = try attentionByHead(
        q.transposed(1, 2),
        k.transposed(1, 2),
        v.transposed(1, 2),
        mask: mask,
        scale: scale
    )
    return try result.transposed(1, 2)
}
