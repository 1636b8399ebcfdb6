/// The type of a tensor in a GGUF file: plain numbers, or blocks that share scales.
enum GGUFType: Sendable, Equatable {
    case plain(DType)
    case blocks(BlockFormat)

    private static let plain: [UInt32: DType] = [
        0: .float32, 1: .float16, 24: .int8, 25: .int16, 26: .int32, 27: .int64, 28: .float64,
        30: .bfloat16,
    ]
    private static let plainNames = ["F32", "F16", "BF16", "F64", "I8", "I16", "I32", "I64"]
    /// The names of types that cannot be read.
    private static let others: [UInt32: String] = [
        9: "Q8_1", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S",
        21: "IQ3_S", 22: "IQ2_S", 29: "IQ1_M", 31: "Q4_0_4_4", 32: "Q4_0_4_8", 33: "Q4_0_8_8",
        34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4", 41: "Q1_0",
    ]

    /// The type with a number of the format; nil if it is not supported.
    init?(_ number: UInt32) {
        if let dtype = Self.plain[number] {
            self = .plain(dtype)
        } else if let format = BlockFormat(rawValue: Int(number)) {
            self = .blocks(format)
        } else {
            return nil
        }
    }

    /// The name of a type that is not supported.
    static func name(of number: UInt32) -> String { others[number] ?? "\(number)" }

    /// The names of all supported types.
    static var supported: String {
        (plainNames + BlockFormat.allCases.map(\.name)).joined(separator: " ")
    }

    /// The name of the type in messages.
    var name: String {
        switch self {
        case .plain(let dtype): "\(dtype)"
        case .blocks(let format): format.name
        }
    }

    /// The size of a tensor in bytes; nil if no tensor of this type can have the shape.
    func byteCount(_ shape: [Int]) -> Int? {
        switch self {
        case .plain(let dtype): return TensorExtent.byteCount(shape, dtype)
        case .blocks(let format):
            // Four bytes an element, since the weights are computed in float32.
            guard let row = shape.last, row % format.elements == 0,
                TensorExtent.byteCount(shape, .float32) != nil,
                let count = TensorExtent.byteCount(shape, .uint8)
            else { return nil }
            return count / format.elements * format.byteCount
        }
    }
}
