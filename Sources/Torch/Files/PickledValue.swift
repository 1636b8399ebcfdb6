public import SwanSystem

/// The contents of a `.pth` file: plain data and tensors, nested.
public enum PickledValue: Sendable {
    case none
    case bool(Bool)
    case integer(Int)
    case real(Double)
    case text(String)
    /// A list, a tuple or a set.
    case list([PickledValue])
    /// A dictionary; numeric keys are converted to text.
    case dictionary([String: PickledValue])
    /// Boxed, since it is several times as large as the other cases.
    indirect case tensor(ArchivedTensor)
    /// A named object whose contents are not represented here, such as `torch.float32`.
    case named(String)
}

/// A tensor in a `.pth` file that has not been read yet.
public struct ArchivedTensor: Sendable {
    /// The size of every dimension.
    public let shape: [Int]
    /// The distance in elements from one index to the next, for every dimension.
    public let strides: [Int]
    /// The type of the elements.
    public let dtype: DType
    let file: MappedFile
    /// The position of the first element in the file.
    private let start: Int
    /// The distance in elements from the first to just past the last.
    private let span: Int

    /// Checks that every element is inside its storage; nil if not.
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

    /// The size in bytes of the elements when none are shared.
    var byteCount: Int { shape.reduce(dtype.size, *) }

    /// Loads the tensor as a view of the file, which stays mapped for the lifetime of the view.
    public func load() throws(SwanError) -> Tensor {
        guard span > 0 else { return try Tensor.empty(shape, dtype) }
        return try file.tensor(at: start, [span], dtype).strided(shape, strides)
    }
}
