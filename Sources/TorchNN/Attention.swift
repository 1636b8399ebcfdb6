import Torch

private let addmmOp = Operator("aten::addmm")

/// Softmax(q k^T / sqrt(D)) v for q [B, Lq, N, D], k and v [B, Lk, N, D] -> [B, Lq, N, D].
///
/// `mask` broadcasts to [B, N, Lq, Lk] and is added to the scores (or, as booleans, keeps the true).
public func attention(
    _ q: Tensor,
    _ k: Tensor,
    _ v: Tensor,
    mask: Tensor? = nil,
    scale: Double? = nil
) throws(TorchError) -> Tensor {
    let result = try attentionByHead(
        q.transposed(1, 2),
        k.transposed(1, 2),
        v.transposed(1, 2),
        mask: mask,
        scale: scale
    )
    return try result.transposed(1, 2)
}

/// The same for heads before tokens: q [B, N, Lq, D], k and v [B, N, Lk, D] -> [B, N, Lq, D].
public func attentionByHead(
    _ q: Tensor,
    _ k: Tensor,
    _ v: Tensor,
    mask: Tensor? = nil,
    scale: Double? = nil
) throws(TorchError) -> Tensor {
    let scoreCount = q.size(2) * k.size(2)
    let isPlain = mask == nil && !q.requiresGrad && !k.requiresGrad && !v.requiresGrad
    let type = q.dtype.productType(on: q.device)
    if type != q.dtype {
        return isPlain
            ? try attentionInTurn(q, k, v, scale: scale, in: type)
            : try attention(q, k, v, mask: mask, scale: scale, in: type)
    }
    // To lay out queries and values pays from so many scores on.
    if isPlain, scoreCount >= 1 << 14, fitTiles(q, k, v), scale ?? 1 > 0 {
        let scale = scale ?? 1 / Double(q.size(3)).squareRoot()
        return try tiledAttention(q, k, v, scale: scale)
    }
    if q.device == .cpu, q.dtype == .bfloat16, scoreCount >= 1 << 18, isPlain {
        return try attentionByMatrices(q, k, v, scale: scale)
    }
    return try scaledDotProductAttention(q, k, v, mask: mask, scale: scale)
}

/// Whether `tiledAttention` takes them.
private func fitTiles(_ q: Tensor, _ k: Tensor, _ v: Tensor) -> Bool {
    [q, k, v].allSatisfy { part in
        part.suitsTiles && part.count > 0 && part.size(3) == q.size(3) && q.size(3) % 32 == 0
            && part.size(0) == q.size(0) && part.size(1) == q.size(1)
    }
}

/// The same in another dtype.
private func attention(
    _ q: Tensor,
    _ k: Tensor,
    _ v: Tensor,
    mask: Tensor?,
    scale: Double?,
    in type: DType
) throws(TorchError) -> Tensor {
    // A mask of booleans is one for every dtype.
    let isBias = mask?.dtype.isFloatingPoint == true
    return try scaledDotProductAttention(
        q.to(type),
        k.to(type),
        v.to(type),
        mask: isBias ? mask?.to(type) : mask,
        scale: scale
    ).to(q.dtype)
}

/// The same in another dtype, into which one head at a time is converted: little memory is needed.
private func attentionInTurn(
    _ q: Tensor,
    _ k: Tensor,
    _ v: Tensor,
    scale: Double?,
    in type: DType
) throws(TorchError) -> Tensor {
    try headByHead(q, k, v) { q, k, v, result throws(TorchError) in
        var place = result
        try place.copy(from: attention(q, k, v, mask: nil, scale: scale, in: type))
    }
}

/// What `attend` writes into the place [1, 1, Lq, D] of each head, given its q, k and v.
private func headByHead(
    _ q: Tensor,
    _ k: Tensor,
    _ v: Tensor,
    _ attend: (_ q: Tensor, _ k: Tensor, _ v: Tensor, _ place: Tensor) throws(TorchError) -> Void
) throws(TorchError) -> Tensor {
    let shape = [q.size(0), q.size(1), q.size(2), v.size(3)]
    let result = try Tensor.empty(shape, q.dtype, q.device)
    for row in 0..<q.size(0) {
        for head in 0..<q.size(1) {
            func part(_ x: Tensor) throws(TorchError) -> Tensor {
                try x.narrowed(0, row, 1).narrowed(1, head, 1)
            }
            try attend(part(q), part(k), part(v), part(result))
        }
    }
    return result
}

/// The same by two matrix products around a softmax, some rows of a head at a time.
///
/// For bfloat16 on a CPU without tiles, whose instructions the engine's fused kernel does not keep busy: it
/// runs at a fifth of the rate of plain products there, this at nearly half. Scores are rounded to
/// the dtype before the softmax, which the fused kernel does not do.
func attentionByMatrices(
    _ q: Tensor,
    _ k: Tensor,
    _ v: Tensor,
    scale: Double? = nil
) throws(TorchError) -> Tensor {
    // A tile's scores stay in the cache between the products.
    let rows = max(32, (1 << 21) / max(1, k.size(2)) / 32 * 32)
    let scale = scale ?? 1 / Double(q.size(3)).squareRoot()
    let nothing = try Tensor.zeros([1], q.dtype, q.device)
    return try headByHead(q, k, v) { q, k, v, result throws(TorchError) in
        func matrix(_ x: Tensor) throws(TorchError) -> Tensor {
            try x.selected(0, 0).selected(0, 0)
        }
        let (queries, values, target) = try (matrix(q), matrix(v), matrix(result))  // [L, D]
        let keys = try matrix(k).transposed(0, 1)  // [D, Lk]
        for start in stride(from: 0, to: queries.size(0), by: rows) {
            let count = min(rows, queries.size(0) - start)
            let tile = try queries.narrowed(0, start, count)
            let scores = try addmmOp(nothing, tile, keys, 0.0, scale)  // [rows, Lk]
            var place = try target.narrowed(0, start, count)
            try place.copy(from: matmul(scores.softmax(), values))
        }
    }
}
