/// Reads little-endian numbers and byte ranges in sequence, never past the end.
struct ByteReader {
    /// Thrown if fewer bytes remain than were requested.
    struct End: Error {}

    let bytes: UnsafeRawBufferPointer
    private(set) var offset: Int

    init(_ bytes: UnsafeRawBufferPointer, at offset: Int = 0) {
        self.bytes = bytes
        self.offset = offset
    }

    private var left: Int { offset >= 0 && offset <= bytes.count ? bytes.count - offset : 0 }

    mutating func integer<T: FixedWidthInteger>(_ type: T.Type = T.self) throws(End) -> T {
        guard left >= MemoryLayout<T>.size else { throw End() }
        defer { offset += MemoryLayout<T>.size }
        return T(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: T.self))
    }

    mutating func piece(_ count: some BinaryInteger) throws(End) -> Slice<UnsafeRawBufferPointer> {
        guard count >= 0, count <= left else { throw End() }
        defer { offset += Int(count) }
        return bytes[offset..<(offset + Int(count))]
    }

    mutating func skip(_ count: Int) throws(End) { _ = try piece(count) }

    /// Returns the bytes up to the next line feed, and skips the line feed.
    mutating func line() throws(End) -> Slice<UnsafeRawBufferPointer> {
        guard left > 0, let end = bytes[offset...].firstIndex(of: 0x0A) else { throw End() }
        defer { offset = end + 1 }
        return bytes[offset..<end]
    }
}
