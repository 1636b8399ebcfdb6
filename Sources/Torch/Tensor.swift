import CTorch
public import SwanSystem

/// An n-dimensional array of numbers on a device.
///
/// A value of this type is a reference to memory that views share, as in PyTorch: assignment does
/// not copy, and the effect of an in-place operator (`mutating`) is visible in every view.
public struct Tensor: @unchecked Sendable {
    let handle: TensorHandle

    init(owning raw: ct_tensor) { handle = TensorHandle(raw) }
}

/// One reference in libtorch's reference count.
final class TensorHandle {
    let raw: ct_tensor

    init(_ raw: ct_tensor) { self.raw = raw }

    deinit { ct_tensor_release(raw) }
}

// MARK: - Properties

extension Tensor {
    /// The number of dimensions.
    public var rank: Int { Int(ct_tensor_rank(handle.raw)) }

    /// The size of every dimension.
    public var shape: [Int] {
        (0..<ct_tensor_rank(handle.raw)).map { Int(ct_tensor_size(handle.raw, $0)) }
    }

    /// The distance in elements from one index to the next, for every dimension.
    public var strides: [Int] {
        (0..<ct_tensor_rank(handle.raw)).map { Int(ct_tensor_stride(handle.raw, $0)) }
    }

    /// The number of elements.
    public var count: Int { Int(ct_tensor_count(handle.raw)) }

    /// The size of the elements in bytes.
    public var byteCount: Int { count * dtype.size }

    /// The type of the elements; a type that Swan does not use is reported as `uint8`.
    public var dtype: DType { DType(rawValue: ct_tensor_dtype(handle.raw)) ?? .uint8 }

    /// The device of the elements.
    public var device: Device {
        Device(
            type: ct_tensor_device_type(handle.raw),
            index: ct_tensor_device_index(handle.raw)
        )
    }

    /// Whether the elements are in row-major order without gaps.
    public var isContiguous: Bool { ct_tensor_is_contiguous(handle.raw) }

    /// The size of one dimension; a negative `dim` counts from the end.
    public func size(_ dim: Int) -> Int {
        let index = dim < 0 ? dim + rank : dim
        precondition(0..<rank ~= index, "dimension \(dim) of a tensor with \(rank)")
        return Int(ct_tensor_size(handle.raw, Int32(index)))
    }
}

// MARK: - From and to Swift

extension Tensor {
    /// Creates a tensor on the CPU from `elements` in row-major order.
    public init<Element: TensorElement>(_ elements: [Element], _ shape: [Int]) throws(SwanError) {
        guard shape.reduce(1, *) == elements.count else {
            throw SwanError(
                .invalidArgument,
                "\(elements.count) elements do not fill the shape \(shape)"
            )
        }
        let tensor = try Tensor.empty(shape, Element.dtype)
        try tensor.withUnsafeBytes { target in
            elements.withUnsafeBytes { target.copyMemory(from: $0) }
        }
        self = tensor
    }

    /// Creates a tensor on the CPU over memory that belongs to `owner`, which is kept alive by the
    /// tensor.
    ///
    /// Throws if no tensor can have the shape.
    public init(
        memory: UnsafeMutableRawPointer,
        _ shape: [Int],
        _ dtype: DType,
        owner: AnyObject
    ) throws(SwanError) {
        guard TensorExtent.byteCount(shape, dtype) != nil else {
            throw SwanError(.invalidArgument, "no tensor has the shape \(shape)")
        }
        var error = ct_error()
        let context = Unmanaged.passRetained(owner).toOpaque()
        let sizes = shape.map(Int64.init)
        let raw = ct_tensor_from_memory(
            memory,
            sizes,
            Int32(sizes.count),
            dtype.rawValue,
            { context in
                if let context { Unmanaged<AnyObject>.fromOpaque(context).release() }
            },
            context,
            &error
        )
        // Whether or not a tensor was created, the call has taken care of releasing the owner.
        guard let raw else { throw SwanError(taking: &error) }
        self.init(owning: raw)
    }

    /// Calls `body` with the bytes of a contiguous tensor on the CPU.
    public func withUnsafeBytes<R>(
        _ body: (UnsafeMutableRawBufferPointer) -> R
    ) throws(SwanError) -> R {
        guard device == .cpu, isContiguous else {
            throw SwanError(.invalidArgument, "bytes need a contiguous tensor on the CPU")
        }
        var error = ct_error()
        let start = ct_tensor_data(handle.raw, &error)
        if error.message != nil { throw SwanError(taking: &error) }
        defer { withExtendedLifetime(handle) {} }
        return body(
            UnsafeMutableRawBufferPointer(start: start, count: start == nil ? 0 : byteCount)
        )
    }

    /// The elements in row-major order, converted to `Element`.
    public func array<Element: TensorElement>(
        of type: Element.Type = Element.self
    ) throws(SwanError) -> [Element] {
        let plain = try to(.cpu).to(Element.dtype).contiguous()
        return try plain.withUnsafeBytes { bytes in
            [Element](unsafeUninitializedCapacity: plain.count) { buffer, count in
                UnsafeMutableRawBufferPointer(buffer).copyMemory(
                    from: UnsafeRawBufferPointer(bytes)
                )
                count = plain.count
            }
        }
    }

    /// The value of a tensor with one element. On a GPU this waits for the device.
    public func item() throws(SwanError) -> Double {
        var error = ct_error()
        var value = 0.0
        guard ct_tensor_item(handle.raw, &value, &error) else { throw SwanError(taking: &error) }
        return value
    }
}

extension Tensor: CustomStringConvertible {
    /// The shape, dtype and device, without the elements.
    public var description: String { "Tensor\(shape) \(dtype) \(device)" }
}
