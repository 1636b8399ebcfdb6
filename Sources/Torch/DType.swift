/// The type of a tensor's elements. Raw values are libtorch's `ScalarType`.
public enum DType: Int32, Sendable, CaseIterable {
    case uint8 = 0
    case int8 = 1
    case int16 = 2
    case int32 = 3
    case int64 = 4
    case float16 = 5
    case float32 = 6
    case float64 = 7
    case complex64 = 9
    case complex128 = 10
    case bool = 11
    case bfloat16 = 15
    case float8e5m2 = 23
    case float8e4m3 = 24

    /// The size of an element in bytes.
    public var size: Int {
        switch self {
        case .uint8, .int8, .bool, .float8e5m2, .float8e4m3: 1
        case .int16, .float16, .bfloat16: 2
        case .int32, .float32: 4
        case .int64, .float64, .complex64: 8
        case .complex128: 16
        }
    }

    /// Whether elements are floating-point numbers.
    public var isFloatingPoint: Bool {
        switch self {
        case .float16, .float32, .float64, .bfloat16, .float8e5m2, .float8e4m3: true
        default: false
        }
    }

    /// The fastest dtype for multiplying tensors of this dtype on a device.
    ///
    /// float32 for 16-bit dtypes on a processor without instructions for them, where the engine's
    /// own products take several times as long; otherwise the dtype itself.
    public func productType(on device: Device) -> DType {
        device == .cpu && !Engine.multiplies(self) ? .float32 : self
    }
}

/// A Swift type that a tensor's elements can be converted from and to.
public protocol TensorElement: Sendable {
    /// The dtype with the same memory layout as this type.
    static var dtype: DType { get }
}

extension UInt8: TensorElement {
    /// The dtype with the same memory layout as this type.
    public static var dtype: DType { .uint8 }
}

extension Int8: TensorElement {
    /// The dtype with the same memory layout as this type.
    public static var dtype: DType { .int8 }
}

extension Int16: TensorElement {
    /// The dtype with the same memory layout as this type.
    public static var dtype: DType { .int16 }
}

extension Int32: TensorElement {
    /// The dtype with the same memory layout as this type.
    public static var dtype: DType { .int32 }
}

extension Int64: TensorElement {
    /// The dtype with the same memory layout as this type.
    public static var dtype: DType { .int64 }
}

extension Int: TensorElement {
    /// The dtype with the same memory layout as this type.
    public static var dtype: DType { .int64 }
}

extension Float: TensorElement {
    /// The dtype with the same memory layout as this type.
    public static var dtype: DType { .float32 }
}

extension Double: TensorElement {
    /// The dtype with the same memory layout as this type.
    public static var dtype: DType { .float64 }
}

extension Bool: TensorElement {
    /// The dtype with the same memory layout as this type.
    public static var dtype: DType { .bool }
}
