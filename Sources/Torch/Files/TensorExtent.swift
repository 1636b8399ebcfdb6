/// What a shape in a file comes to, before anything is made of it.
enum TensorExtent {
    /// More dimensions some operators of the engine do not take.
    static let mostDimensions = 64

    /// The bytes that elements of a shape take; nil for a shape that no tensor can have.
    ///
    /// The engine multiplies sizes to strides where one of them is 0 too, so that the others may not
    /// come to more than can be counted either.
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
