import Foundation

/// Builds GGUF files byte by byte, including invalid ones.
public struct GGUFBuilder {
    /// A value of the metadata.
    public enum Value: Sendable {
        case uint32(UInt32)
        case bool(Bool)
        case text(String)
        case texts([String])
        case int32s([Int32])
        case floats([Float])
        /// A type, and the bytes after it.
        case raw(UInt32, [UInt8])
    }

    /// A tensor, with the fastest dimension of its shape last.
    public struct Tensor: Sendable {
        /// The name.
        public var name: String
        /// The size of every dimension.
        public var shape: [Int]
        /// The number of the type.
        public var type: UInt32
        /// The bytes of the elements.
        public var data: [UInt8]
        /// The offset that the header declares; the actual one if nil.
        public var offset: UInt64?

        /// A tensor from its bytes.
        public init(_ name: String, _ shape: [Int], type: UInt32, _ data: [UInt8]) {
            self.name = name
            self.shape = shape
            self.type = type
            self.data = data
        }

        /// A tensor of float32 numbers.
        public init(_ name: String, _ shape: [Int], _ values: [Float]) {
            let bytes = values.flatMap { GGUFBuilder.bytes($0.bitPattern) }
            self.init(name, shape, type: 0, bytes)
        }

        /// A tensor in blocks of Q8_0, whose scales are those of the reference.
        public init(q8 name: String, _ shape: [Int], _ values: [Float]) {
            var data: [UInt8] = []
            for start in stride(from: 0, to: values.count, by: 32) {
                let block = values[start..<start + 32]
                let scale = (block.map(abs).max() ?? 0) / 127
                data += GGUFBuilder.bytes(Float16(scale).bitPattern)
                data += block.map { value in
                    UInt8(bitPattern: Int8(scale == 0 ? 0 : (value / scale).rounded()))
                }
            }
            self.init(name, shape, type: 8, data)
        }
    }

    /// The version of the format.
    public var version: UInt32 = 3
    /// The metadata.
    public var values: [(key: String, value: Value)] = []
    /// The tensors, in the order of the file.
    public var tensors: [Tensor] = []
    /// The numbers that the header declares; the actual ones if nil.
    public var tensorCount, valueCount: UInt64?
    /// What the offsets of tensors are multiples of.
    public var alignment = 32

    /// Creates a file without tensors.
    public init() {}

    private static func bytes(_ number: some FixedWidthInteger) -> [UInt8] {
        withUnsafeBytes(of: number.littleEndian) { Array($0) }
    }

    private static func text(_ text: String) -> [UInt8] {
        bytes(UInt64(text.utf8.count)) + Array(text.utf8)
    }

    private static func encoded(_ value: Value) -> [UInt8] {
        func array(_ type: UInt32, _ count: Int, _ elements: [UInt8]) -> [UInt8] {
            bytes(UInt32(9)) + bytes(type) + bytes(UInt64(count)) + elements
        }
        switch value {
        case .uint32(let number): return bytes(UInt32(4)) + bytes(number)
        case .bool(let isTrue): return bytes(UInt32(7)) + [isTrue ? 1 : 0]
        case .text(let text): return bytes(UInt32(8)) + Self.text(text)
        case .texts(let texts): return array(8, texts.count, texts.flatMap(Self.text))
        case .int32s(let numbers): return array(5, numbers.count, numbers.flatMap { bytes($0) })
        case .floats(let numbers):
            return array(6, numbers.count, numbers.flatMap { bytes($0.bitPattern) })
        case .raw(let type, let rest): return bytes(type) + rest
        }
    }

    /// The bytes of the file.
    public var bytes: [UInt8] {
        var file = Array("GGUF".utf8) + Self.bytes(version)
        file += Self.bytes(tensorCount ?? UInt64(tensors.count))
        file += Self.bytes(valueCount ?? UInt64(values.count))
        for (key, value) in values { file += Self.text(key) + Self.encoded(value) }
        var offset = 0
        for tensor in tensors {
            file += Self.text(tensor.name) + Self.bytes(UInt32(tensor.shape.count))
            for size in tensor.shape.reversed() {
                file += Self.bytes(UInt64(bitPattern: Int64(size)))
            }
            file += Self.bytes(tensor.type) + Self.bytes(tensor.offset ?? UInt64(offset))
            offset += (tensor.data.count + alignment - 1) / alignment * alignment
        }
        for tensor in tensors {
            file += [UInt8](repeating: 0, count: (alignment - file.count % alignment) % alignment)
            file += tensor.data
        }
        return file
    }
}
