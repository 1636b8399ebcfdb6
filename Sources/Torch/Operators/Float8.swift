private let widenFloat8Op = Operator("swan::widen_float8")

extension Tensor {
    /// The tensor in `dtype`; on the CPU float8 is converted faster than by `to`, to the same numbers.
    ///
    /// Where it has the dtype already, that is the tensor itself.
    public func widened(to dtype: DType) throws(TorchError) -> Tensor {
        let isFloat8 = self.dtype == .float8e4m3 || self.dtype == .float8e5m2
        let isWide = dtype == .float32 || dtype == .float16 || dtype == .bfloat16
        guard isFloat8, isWide, device == .cpu else { return try to(dtype) }
        return try widenFloat8Op(self, dtype)
    }
}
