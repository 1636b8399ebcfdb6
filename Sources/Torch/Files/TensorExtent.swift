/// The size of a tensor from its shape in a file, computed before anything is allocated.
enum TensorExtent {
    /// The maximum number of dimensions that all operators of the engine support.
    static let mostDimensions = 64

    /// The size in bytes of the elements of a shape; nil for a shape that no tensor can have.
    ///
    /// The engine multiplies sizes to strides even if one of them is 0, so the product of the
    /// others must not overflow either.
    static func byteCount(_ shape: [Int], _ dtype: DType) -> Int? {
        guard shape.count <= mostDimensions else { return nil }
        var total = dtype.size
        for size in shape {
            guard size >= 0 else { return nil }
            let (product, overflow) = total.multipliedReportingOverflow(by: max(size, 1))
            if overflow { return nil }
            total = product
        }
        return shape.contains(0) ? 0 : total
    }
}
