/// Encodes a message in the protobuf wire format; fields must be added in ascending order.
///
/// See https://protobuf.dev/programming-guides/encoding. The caller decides whether to omit a field
/// that is 0.
struct ProtobufMessage {
    private enum WireType: UInt64 {
        case varint = 0
        case fixed64 = 1
        case length = 2
        case fixed32 = 5
    }

    /// The bytes encoded so far.
    private(set) var bytes: [UInt8] = []

    /// Adds an int32, an int64 or an enum value; none may be negative.
    mutating func add(_ field: Int, _ value: UInt64) {
        begin(field, .varint)
        append(varint: value)
    }

    mutating func add(_ field: Int, _ value: Double) {
        begin(field, .fixed64)
        bytes.append(littleEndian: value.bitPattern)
    }

    mutating func add(_ field: Int, _ value: Float) {
        begin(field, .fixed32)
        bytes.append(littleEndian: value.bitPattern)
    }

    mutating func add(_ field: Int, _ value: [UInt8]) {
        begin(field, .length)
        append(varint: UInt64(value.count))
        bytes += value
    }

    mutating func add(_ field: Int, _ value: String) { add(field, Array(value.utf8)) }

    mutating func add(_ field: Int, _ value: ProtobufMessage) { add(field, value.bytes) }

    private mutating func begin(_ field: Int, _ type: WireType) {
        append(varint: UInt64(field) << 3 | type.rawValue)
    }

    /// Encodes seven bits per byte, least significant first; the high bit marks that more follow.
    private mutating func append(varint value: UInt64) {
        var rest = value
        while rest > 0x7F {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }
}

extension [UInt8] {
    /// Appends the bytes of an integer, least significant first.
    mutating func append(littleEndian value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
    }
}
