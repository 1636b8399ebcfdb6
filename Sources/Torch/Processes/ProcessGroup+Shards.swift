import CTorch
package import SwanSystem

extension ProcessGroup {
    /// Returns the flat tensor [size * n] of which each rank has the shard [n], in a dtype.
    ///
    /// The gradient is this rank's shard of the sum over ranks of the result's gradients, in
    /// float32 whatever the dtype is, and added as in `scatteredSum`.
    package func unsharded(_ shard: Tensor, as dtype: DType) throws(SwanError) -> Tensor {
        try unsharded([shard], as: dtype)[0]
    }

    /// The same for several tensors, in one exchange.
    package func unsharded(_ shards: [Tensor], as dtype: DType) throws(SwanError) -> [Tensor] {
        guard !shards.isEmpty else { return [] }
        let elements = shards.reduce(0) { $0 + $1.count }
        traffic.count(.gather, elements * dtype.size * (size - 1))
        var error = ct_error()
        let handles: [ct_tensor?] = shards.map(\.handle.raw)
        var wholes = [ct_tensor?](repeating: nil, count: shards.count)
        let (count, number) = (Int32(shards.count), dtype.rawValue)
        guard ct_unsharded(raw, handles, count, number, &wholes, &error) else {
            throw SwanError(taking: &error)
        }
        return wholes.compactMap { $0.map(Tensor.init(owning:)) }
    }

    /// Starts to gather the flat tensor [size * n] of which each rank has the shard [n]; without
    /// gradients. The result may be used when the work is done.
    package func startUnsharding(
        _ shard: Tensor
    ) throws(SwanError) -> (whole: Tensor, work: ProcessWork) {
        let whole = Tensor(
            owning: try engine { error in ct_whole(raw, shard.handle.raw, &error) }
        )
        return (whole, try startGather(shard, into: whole))
    }

    /// Sums flat tensors [size * n] over ranks and returns this rank's part [n] of the sum.
    ///
    /// Ranks are added in pairs of neighbours: 0 + 1, 2 + 3, then the pairs' sums. The order does
    /// not depend on the place in the tensor, as it does in a ring.
    package func scatteredSum(_ whole: Tensor) throws(SwanError) -> Tensor {
        traffic.count(.exchange, whole.byteCount / size * (size - 1))
        return Tensor(
            owning: try engine { error in ct_scattered_sum(raw, whole.handle.raw, &error) }
        )
    }
}

/// The bytes of tensors made whole from shards that exist at a time, in this process.
package enum UnshardedBytes {
    /// The bytes that exist now.
    package static var now: Int { read(resets: false).now }

    /// The most bytes that existed at a time since `reset`.
    package static var maximum: Int { read(resets: false).maximum }

    /// Starts a new maximum.
    package static func reset() { _ = read(resets: true) }

    private static func read(resets: Bool) -> (now: Int, maximum: Int) {
        var (now, maximum) = (Int64(0), Int64(0))
        ct_unsharded_bytes(&now, &maximum, resets)
        return (Int(now), Int(maximum))
    }
}
