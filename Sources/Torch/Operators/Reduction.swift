public import SwanSystem

private let sumOp = Operator("aten::sum", "dim_IntList")
private let meanOp = Operator("aten::mean", "dim")
private let amaxOp = Operator("aten::amax")
private let aminOp = Operator("aten::amin")
private let varOp = Operator("aten::var", "correction")
private let argmaxOp = Operator("aten::argmax")
private let cumsumOp = Operator("aten::cumsum")
private let allOp = Operator("aten::all")
private let normOp = Operator("aten::linalg_vector_norm")
private let softmaxOp = Operator("aten::softmax", "int")
private let cosineOp = Operator("aten::cosine_similarity")
private let sortOp = Operator("aten::sort")

/// An empty list of dimensions means all of them.
extension Tensor {
    /// The sum over `dims`.
    public func sum(_ dims: [Int] = [], keepDim: Bool = false) throws(SwanError) -> Tensor {
        try sumOp(self, dims, keepDim)
    }

    /// The mean over `dims`.
    public func mean(_ dims: [Int] = [], keepDim: Bool = false) throws(SwanError) -> Tensor {
        try meanOp(self, dims, keepDim)
    }

    /// The largest element over `dims`.
    public func max(_ dims: [Int] = [], keepDim: Bool = false) throws(SwanError) -> Tensor {
        try amaxOp(self, dims, keepDim)
    }

    /// The smallest element over `dims`.
    public func min(_ dims: [Int] = [], keepDim: Bool = false) throws(SwanError) -> Tensor {
        try aminOp(self, dims, keepDim)
    }

    /// The variance over `dims`, the sum of squares divided by the count minus `correction`.
    public func variance(
        _ dims: [Int] = [],
        correction: Double = 0,
        keepDim: Bool = false
    ) throws(SwanError) -> Tensor {
        try varOp(self, dims.isEmpty ? nil : dims, correction, keepDim)
    }

    /// The index of the largest element along `dim`.
    public func argmax(_ dim: Int) throws(SwanError) -> Tensor { try argmaxOp(self, dim) }

    /// The cumulative sum along `dim`.
    public func cumulativeSum(_ dim: Int) throws(SwanError) -> Tensor { try cumsumOp(self, dim) }

    /// Whether all elements are true.
    public func all() throws(SwanError) -> Bool { try allOp(self).item() != 0 }

    /// Whether no element is infinite or NaN.
    public func isAllFinite() throws(SwanError) -> Bool {
        guard dtype.isFloatingPoint else { return true }
        let summable = dtype.size == 1 ? try widened(to: .float32) : self
        // One pass computes a sum; only if it overflows is each element checked.
        if try summable.sum().item().isFinite { return true }
        return try summable.isFinite().all()
    }

    /// The Euclidean norm over `dims`.
    public func norm(_ dims: [Int] = [], keepDim: Bool = false) throws(SwanError) -> Tensor {
        try normOp(self, 2.0, dims.isEmpty ? nil : dims, keepDim)
    }

    /// The softmax along `dim`.
    public func softmax(_ dim: Int = -1) throws(SwanError) -> Tensor { try softmaxOp(self, dim) }

    /// The elements sorted along `dim`, and their original indices.
    public func sorted(
        _ dim: Int = -1,
        descending: Bool = false
    ) throws(SwanError) -> (values: Tensor, indices: Tensor) {
        let results = try sortOp.tensors(self, dim, descending)
        return (results[0], results[1])
    }
}

/// The cosine similarity of `a` and `b` along `dim`.
public func cosineSimilarity(
    _ a: Tensor,
    _ b: Tensor,
    dim: Int = 1
) throws(SwanError) -> Tensor {
    try cosineOp(a, b, dim)
}
