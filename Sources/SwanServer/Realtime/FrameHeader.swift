/// The header of a binary message: 32 bytes in little-endian order, followed by a picture or a frame of H.264.
///
/// See docs/protocol.md.
package struct FrameHeader: Sendable, Equatable {
    /// The format of a picture.
    package enum Codec: UInt8, Sendable, CaseIterable {
        case jpeg = 1
        case png = 2
        /// An access unit in Annex B format.
        case h264 = 3
    }

    /// The number of bytes of a header.
    package static let byteCount = 32
    private static let version: UInt8 = 1
    private static let kindOfFrames: UInt8 = 1
    private static let keyFrameFlag: UInt8 = 1

    /// The picture's format.
    package var codec: Codec
    /// Whether decoding can begin with the frame; only H.264 has others.
    package var isKeyFrame: Bool
    /// The sender's number of the frame; in an output frame, that of the input frame.
    package var sequence: UInt32
    /// The time of capture in microseconds, by the client's clock.
    package var captureTime: UInt64
    /// The newest change that shaped the frame; 0 in input frames.
    package var event: UInt32 = 0
    /// The picture's size in pixels.
    package var width: UInt16
    package var height: UInt16
    /// The chunk that the frame belongs to; 0 in input frames.
    package var chunk: UInt32 = 0
    /// The time from the frame's arrival until it was sent; 0 in input frames.
    package var milliseconds: UInt32 = 0

    /// Creates a header.
    package init(
        _ codec: Codec,
        sequence: UInt32,
        captureTime: UInt64,
        width: UInt16,
        height: UInt16
    ) {
        self.codec = codec
        isKeyFrame = codec != .h264
        self.sequence = sequence
        self.captureTime = captureTime
        self.width = width
        self.height = height
    }

    /// Parses the header of a message; nil if it is not a frame in this version of the protocol.
    package init?(_ message: some Collection<UInt8>) {
        let bytes = Array(message.prefix(Self.byteCount))
        guard bytes.count == Self.byteCount, bytes[0] == Self.version,
            bytes[1] == Self.kindOfFrames, let codec = Codec(rawValue: bytes[2])
        else { return nil }
        func number<Number: FixedWidthInteger>(_ offset: Int) -> Number {
            bytes[offset..<offset + Number.bitWidth / 8].reversed().reduce(0) {
                $0 << 8 | Number($1)
            }
        }
        self.codec = codec
        isKeyFrame = codec != .h264 || bytes[3] & Self.keyFrameFlag != 0
        sequence = number(4)
        captureTime = number(8)
        event = number(16)
        width = number(20)
        height = number(22)
        chunk = number(24)
        milliseconds = number(28)
    }

    /// The 32 bytes.
    package var bytes: [UInt8] {
        // Pictures have no flags: each stands alone.
        let flags = codec == .h264 && isKeyFrame ? Self.keyFrameFlag : 0
        var bytes: [UInt8] = [Self.version, Self.kindOfFrames, codec.rawValue, flags]
        func append(_ number: some FixedWidthInteger) {
            withUnsafeBytes(of: number.littleEndian) { bytes += $0 }
        }
        append(sequence)
        append(captureTime)
        append(event)
        append(width)
        append(height)
        append(chunk)
        append(milliseconds)
        return bytes
    }
}
