public import SwanSystem

private let dequantizeOp = Operator("swan::dequantize")

/// A format of weights in blocks that share scales, as in GGUF files. Raw values are GGUF's types.
///
/// The layouts are those of ggml (ggml-common.h): from 2 to 8 bits a weight, in blocks of 32 or 256
/// weights of one row.
public enum BlockFormat: Int, Sendable, CaseIterable {
    case q4_0 = 2
    case q4_1 = 3
    case q5_0 = 6
    case q5_1 = 7
    case q8_0 = 8
    case q2_K = 10
    case q3_K = 11
    case q4_K = 12
    case q5_K = 13
    case q6_K = 14
    case iq4_NL = 20
    case iq4_XS = 23

    /// The name of the format in GGUF, such as `Q4_K`.
    public var name: String { "\(self)".uppercased() }

    /// The number of weights in a block.
    public var elements: Int {
        switch self {
        case .q4_0, .q4_1, .q5_0, .q5_1, .q8_0, .iq4_NL: 32
        case .q2_K, .q3_K, .q4_K, .q5_K, .q6_K, .iq4_XS: 256
        }
    }

    /// The size of a block in bytes.
    public var byteCount: Int {
        switch self {
        case .q4_0, .iq4_NL: 18
        case .q4_1: 20
        case .q5_0: 22
        case .q5_1: 24
        case .q8_0: 34
        case .q2_K: 84
        case .q3_K: 110
        case .q4_K: 144
        case .q5_K: 176
        case .q6_K: 210
        case .iq4_XS: 136
        }
    }
}

extension Tensor {
    /// The weights in blocks uint8 [N, bytes] -> [N, elements], in float32, float16 or bfloat16.
    ///
    /// They are computed in float32, with the bits of the package `gguf` for Python, and then
    /// rounded.
    public func dequantized(
        _ format: BlockFormat,
        to dtype: DType
    ) throws(SwanError) -> Tensor {
        try dequantizeOp(self, format.rawValue, dtype)
    }
}
