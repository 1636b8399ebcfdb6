public import SwanSystem

private let widenOp = Operator("swan::widen")

extension Tensor {
    /// The tensor in `dtype`, times `factor` (one number, nil for 1).
    ///
    /// On the CPU float8 is converted faster than by `to`, to the same numbers, and multiplied on the
    /// way; where there is nothing to be done, the result is the tensor itself.
    public func widened(to dtype: DType, times factor: Tensor? = nil) throws(SwanError) -> Tensor {
        try widenOp(self, dtype, factor)
    }
}
