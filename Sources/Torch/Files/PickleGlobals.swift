/// The Python names that a checkpoint may refer to.
///
/// A pickle can name anything in Python and have it called; only these are supported, and this
/// reader implements their effects itself.
enum PickleGlobal {
    case orderedDictionary
    case rebuildTensor
    case rebuildTypedTensor
    case rebuildParameter
    case size
    case device
    case storage(DType)
    case untypedStorage
    case dtype(DType)

    init?(module: String, name: String) {
        switch (module, name) {
        case ("collections", "OrderedDict"): self = .orderedDictionary
        case ("torch._utils", "_rebuild_tensor_v2"): self = .rebuildTensor
        case ("torch._utils", "_rebuild_tensor_v3"): self = .rebuildTypedTensor
        case ("torch._utils", "_rebuild_parameter"): self = .rebuildParameter
        case ("torch", "Size"): self = .size
        case ("torch", "device"): self = .device
        case ("torch.storage", "UntypedStorage"), ("torch", "UntypedStorage"):
            self = .untypedStorage
        case ("torch", _):
            if let dtype = Self.storages[name] {
                self = .storage(dtype)
            } else if let dtype = Self.dtypes[name] {
                self = .dtype(dtype)
            } else {
                return nil
            }
        default: return nil
        }
    }

    /// The name as a value.
    var name: String {
        guard case .dtype(let dtype) = self else { return "\(self)" }
        let name = Self.dtypes.first { $0.value == dtype }?.key
        return "torch.\(name ?? "\(dtype)")"
    }

    private static let storages: [String: DType] = [
        "ByteStorage": .uint8, "CharStorage": .int8, "ShortStorage": .int16, "IntStorage": .int32,
        "LongStorage": .int64, "HalfStorage": .float16, "BFloat16Storage": .bfloat16,
        "FloatStorage": .float32, "DoubleStorage": .float64, "BoolStorage": .bool,
        "ComplexFloatStorage": .complex64, "ComplexDoubleStorage": .complex128,
    ]
    private static let dtypes: [String: DType] = [
        "uint8": .uint8, "int8": .int8, "int16": .int16, "int32": .int32, "int64": .int64,
        "float16": .float16, "bfloat16": .bfloat16, "float32": .float32, "float64": .float64,
        "bool": .bool, "complex64": .complex64, "complex128": .complex128,
        "float8_e5m2": .float8e5m2, "float8_e4m3fn": .float8e4m3,
    ]
}
