public import SwanSystem

private let reshapeOp = Operator("aten::reshape")
private let viewOp = Operator("aten::view")
private let viewBytesOp = Operator("aten::view", "dtype")
private let permuteOp = Operator("aten::permute")
private let transposeOp = Operator("aten::transpose", "int")
private let asStridedOp = Operator("aten::as_strided")
private let expandOp = Operator("aten::expand")
private let contiguousOp = Operator("aten::contiguous")
private let cloneOp = Operator("aten::clone")
private let unsqueezeOp = Operator("aten::unsqueeze")
private let squeezeOp = Operator("aten::squeeze", "dim")
private let sliceOp = Operator("aten::slice", "Tensor")
private let selectOp = Operator("aten::select", "int")
private let narrowOp = Operator("aten::narrow")
private let splitOp = Operator("aten::split_with_sizes")
private let unbindOp = Operator("aten::unbind", "int")
private let catOp = Operator("aten::cat")
private let stackOp = Operator("aten::stack")
private let repeatOp = Operator("aten::repeat")
private let repeatInterleaveOp = Operator("aten::repeat_interleave", "self_int")
private let padOp = Operator("aten::pad")
private let flipOp = Operator("aten::flip")
private let rollOp = Operator("aten::roll")
private let indexSelectOp = Operator("aten::index_select")
private let gatherOp = Operator("aten::gather")
private let embeddingOp = Operator("aten::embedding")

extension Tensor {
    /// The same elements in a different shape; one size may be -1.
    public func reshaped(_ shape: [Int]) throws(SwanError) -> Tensor {
        try reshapeOp(self, shape)
    }

    /// The same elements in a different shape; one size may be -1.
    public func reshaped(_ shape: Int...) throws(SwanError) -> Tensor {
        try reshapeOp(self, shape)
    }

    /// A view with a different shape; throws if that needs a copy.
    public func viewed(_ shape: [Int]) throws(SwanError) -> Tensor { try viewOp(self, shape) }

    /// The same bytes as numbers of another dtype; the last size changes with the size of a number.
    package func reinterpreted(as dtype: DType) throws(SwanError) -> Tensor {
        try viewBytesOp(self, dtype)
    }

    /// The dimensions in a new order.
    public func permuted(_ order: Int...) throws(SwanError) -> Tensor {
        try permuteOp(self, order)
    }

    /// The tensor with two dimensions exchanged.
    public func transposed(_ a: Int, _ b: Int) throws(SwanError) -> Tensor {
        try transposeOp(self, a, b)
    }

    /// Expands dimensions of size 1 without a copy; -1 keeps a size.
    public func expanded(_ shape: [Int]) throws(SwanError) -> Tensor { try expandOp(self, shape) }

    /// A view with any shape and strides, starting at the first element.
    public func strided(_ shape: [Int], _ strides: [Int]) throws(SwanError) -> Tensor {
        try asStridedOp(self, shape, strides)
    }

    /// The elements laid out in `format`; the tensor itself if they already are.
    public func contiguous(_ format: MemoryFormat = .contiguous) throws(SwanError) -> Tensor {
        try contiguousOp(self, format)
    }

    /// A copy.
    public func cloned() throws(SwanError) -> Tensor { try cloneOp(self) }

    /// Inserts a dimension of size 1 at `dim`.
    public func unsqueezed(_ dim: Int) throws(SwanError) -> Tensor { try unsqueezeOp(self, dim) }

    /// Removes the dimension `dim` of size 1.
    public func squeezed(_ dim: Int) throws(SwanError) -> Tensor { try squeezeOp(self, dim) }

    /// Merges the dimensions `start ... end` into one.
    public func flattened(from start: Int = 0, to end: Int = -1) throws(SwanError) -> Tensor {
        let shape = self.shape
        let first = start < 0 ? start + shape.count : start
        let last = end < 0 ? end + shape.count : end
        let middle = shape[first...last].reduce(1, *)
        return try reshapeOp(self, Array(shape[..<first]) + [middle] + Array(shape[(last + 1)...]))
    }

    /// Splits the dimension `dim` into several.
    public func unflattened(_ dim: Int, _ sizes: [Int]) throws(SwanError) -> Tensor {
        let shape = self.shape
        let at = dim < 0 ? dim + shape.count : dim
        return try reshapeOp(self, Array(shape[..<at]) + sizes + Array(shape[(at + 1)...]))
    }

    /// A view of `range` in dimension `dim`.
    public func sliced(_ dim: Int, _ range: Range<Int>, step: Int = 1) throws(SwanError) -> Tensor {
        try sliceOp(self, dim, range.lowerBound, range.upperBound, step)
    }

    /// A view from `start` to the end of dimension `dim`; a negative start counts from the end.
    public func sliced(_ dim: Int, from start: Int) throws(SwanError) -> Tensor {
        try sliceOp(self, dim, start, absent, 1)
    }

    /// A view at one index of dimension `dim`, which is removed.
    public func selected(_ dim: Int, _ index: Int) throws(SwanError) -> Tensor {
        try selectOp(self, dim, index)
    }

    /// A view of `length` indices from `start` in dimension `dim`; throws if it is out of bounds.
    public func narrowed(_ dim: Int, _ start: Int, _ length: Int) throws(SwanError) -> Tensor {
        try narrowOp(self, dim, start, length)
    }

    /// Views of the given sizes, in sequence along `dim`.
    public func split(_ sizes: [Int], dim: Int) throws(SwanError) -> [Tensor] {
        try splitOp.tensors(self, sizes, dim)
    }

    /// `count` views of equal size along `dim`.
    public func chunked(_ count: Int, dim: Int) throws(SwanError) -> [Tensor] {
        try split(Array(repeating: size(dim) / count, count: count), dim: dim)
    }

    /// One view for each index of `dim`, which is removed.
    public func unbound(_ dim: Int = 0) throws(SwanError) -> [Tensor] {
        try unbindOp.tensors(self, dim)
    }

    /// Tiles the tensor, `counts` times for each dimension.
    public func repeated(_ counts: [Int]) throws(SwanError) -> Tensor {
        try repeatOp(self, counts)
    }

    /// Repeats every index of `dim` `count` times in a row.
    public func repeatedInterleaved(_ count: Int, dim: Int) throws(SwanError) -> Tensor {
        try repeatInterleaveOp(self, count, dim)
    }

    /// Pads the tensor, with pairs (before, after) from the last dimension backwards.
    public func padded(
        _ amounts: [Int],
        mode: String = "constant",
        value: Double? = nil
    ) throws(SwanError) -> Tensor {
        try padOp(self, amounts, mode, value)
    }

    /// Reverses the order of the elements along dimensions.
    public func flipped(_ dims: [Int]) throws(SwanError) -> Tensor { try flipOp(self, dims) }

    /// Shifts elements along dimensions; those shifted out reenter at the other end.
    public func rolled(_ shifts: [Int], dims: [Int]) throws(SwanError) -> Tensor {
        try rollOp(self, shifts, dims)
    }

    /// The entries of `dim` at `indices` (int64).
    public func indexSelected(_ dim: Int, _ indices: Tensor) throws(SwanError) -> Tensor {
        try indexSelectOp(self, dim, indices)
    }

    /// Gathers elements along `dim` with an index tensor of the same rank.
    public func gathered(_ dim: Int, _ indices: Tensor) throws(SwanError) -> Tensor {
        try gatherOp(self, dim, indices)
    }
}

/// Concatenates tensors along an existing dimension.
public func concatenated(_ tensors: [Tensor], dim: Int = 0) throws(SwanError) -> Tensor {
    try catOp(tensors, dim)
}

/// Stacks tensors along a new dimension.
public func stacked(_ tensors: [Tensor], dim: Int = 0) throws(SwanError) -> Tensor {
    try stackOp(tensors, dim)
}

/// The rows of `table` [V, C] at `indices`: [..., C].
public func embedding(_ table: Tensor, _ indices: Tensor) throws(SwanError) -> Tensor {
    try embeddingOp(table, indices)
}
