public import SwanSystem

/// What a `.pth` file holds: plain data and tensors, nested.
public enum PickledValue: Sendable {
    case none
    case bool(Bool)
    case integer(Int)
    case real(Double)
    case text(String)
    /// A list, a tuple or a set.
    case list([PickledValue])
    /// A dictionary; keys that are numbers are written out.
    case dictionary([String: PickledValue])
    /// Boxed, since it is several times as large as the others.
    indirect case tensor(ArchivedTensor)
    /// Something that has a name and no content here, such as `torch.float32`.
    case named(String)
}

/// A tensor in a `.pth` file that has not been read yet.
public struct ArchivedTensor: Sendable {
    /// The size of every dimension.
    public let shape: [Int]
    /// Elements to skip from one index to the next, for every dimension.
    public let strides: [Int]
    /// The type of the elements.
    public let dtype: DType
    let file: MappedFile
    /// Where in the file the first element is.
    private let start: Int
    /// From the first element to behind the last, counted in elements.
    private let span: Int

    /// Checks that every element lies inside its storage; nil if one does not.
    init?(
        in file: MappedFile,
        storage: Range<Int>,
        _ dtype: DType,
        offset: Int,
        shape: [Int],
        strides: [Int]
    ) {
        guard shape.count == strides.count, offset >= 0, strides.allSatisfy({ $0 >= 0 }),
            TensorExtent.byteCount(shape, dtype) != nil
        else { return nil }
        var last = offset
        for (size, stride) in zip(shape, strides) where size > 1 {
            let (product, overflow) = (size - 1).multipliedReportingOverflow(by: stride)
            let (sum, overflow2) = last.addingReportingOverflow(product)
            guard !overflow, !overflow2 else { return nil }
            last = sum
        }
        let isEmpty = shape.contains(0)
        guard isEmpty || last < storage.count / dtype.size else { return nil }
        self.file = file
        self.shape = shape
        self.strides = strides
        self.dtype = dtype
        start = isEmpty ? storage.lowerBound : storage.lowerBound + offset * dtype.size
        span = isEmpty ? 0 : last - offset + 1
    }

    /// Bytes that the elements take when each has its own.
    var byteCount: Int { shape.reduce(dtype.size, *) }

    /// The tensor: a view over the file, which stays mapped as long as the view lives.
    public func load() throws(SwanError) -> Tensor {
        guard span > 0 else { return try Tensor.empty(shape, dtype) }
        return try file.tensor(at: start, [span], dtype).strided(shape, strides)
    }
}
