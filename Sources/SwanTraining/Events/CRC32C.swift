/// The checksum of TensorBoard's records: CRC-32C, with Castagnoli's polynomial (RFC 3720, B.4).
enum CRC32C {
    private static let table: [UInt32] = (0..<256).map { byte in
        (0..<8).reduce(byte) { rest, _ in rest & 1 == 1 ? rest >> 1 ^ 0x82F6_3B78 : rest >> 1 }
    }

    /// Returns the checksum of bytes.
    static func checksum(_ bytes: [UInt8]) -> UInt32 {
        table.withUnsafeBufferPointer { table in
            var rest = ~UInt32(0)
            for byte in bytes {
                rest = table[Int(UInt8(truncatingIfNeeded: rest) ^ byte)] ^ rest >> 8
            }
            return ~rest
        }
    }

    /// Returns the checksum as stored in a file: rotated and offset, so that the checksum of data
    /// that contains checksums does not cancel out (TensorFlow, lib/hash/crc32c.h).
    static func masked(_ bytes: [UInt8]) -> UInt32 {
        let sum = checksum(bytes)
        return (sum >> 15 | sum << 17) &+ 0xA282_EAD8
    }
}
