public import SwanSystem

private let widenOp = Operator("swan::widen")

extension Tensor {
    /// The tensor converted to `dtype`, times `factor` (one number, nil for 1).
    ///
    /// On the CPU this converts float8 faster than `to`, with the same results, and multiplies in
    /// the same pass. If nothing needs to be done, the result is the tensor itself.
    public func widened(to dtype: DType, times factor: Tensor? = nil) throws(SwanError) -> Tensor {
        try widenOp(self, dtype, factor)
    }
}
