import CMedia
package import SwanSystem

/// A frame of live H.264: an access unit in Annex B format.
package struct AccessUnit: Sendable {
    /// The bytes, with start codes.
    package let bytes: [UInt8]
    /// Whether decoding can begin here; the parameter sets come first then.
    package let isKeyFrame: Bool
}

/// Encodes live video as H.264, by libx264: each frame becomes an access unit at once.
///
/// Constrained Baseline without B-frames, BT.709. May be used by one thread at a time.
package final class LiveVideoEncoder {
    /// Whether this build of FFmpeg can encode H.264.
    package static var isAvailable: Bool { MediaLibrary.hasEncoder("libx264") }

    /// The size of the frames, in pixels.
    package let width, height: Int
    private let handle: OpaquePointer
    private static let name = "H.264"

    /// Opens an encoder for frames of a size, whose sides must be even.
    package init(
        width: Int,
        height: Int,
        framesPerSecond: Double,
        bitsPerSecond: Int
    ) throws(SwanError) {
        var options = cm_live_options()
        options.width = Int32(clamping: width)
        options.height = Int32(clamping: height)
        options.frame_rate = framesPerSecond
        options.bit_rate = Int64(bitsPerSecond)
        var opened: OpaquePointer?
        try calling(Self.name) { cm_live_encoder_open(&opened, &options, $0) }
        guard let opened else {
            throw SwanError(.outOfMemory, "\(Self.name): out of memory for an encoder")
        }
        handle = opened
        (self.width, self.height) = (width, height)
    }

    deinit { cm_live_encoder_free(handle) }

    /// Encodes the next frame, which must have the encoder's size.
    ///
    /// - Parameter asKeyFrame: Whether the frame depends on none before it.
    package func encode(
        _ frame: VideoFrame,
        asKeyFrame: Bool = false
    ) throws(SwanError) -> AccessUnit {
        guard (frame.width, frame.height) == (width, height) else {
            throw SwanError(
                .invalidArgument,
                "\(Self.name): a frame of \(frame.width)x\(frame.height) is not \(width)x\(height)"
            )
        }
        var unit = cm_access_unit()
        try frame.withUnsafeBytes { (rgb) throws(SwanError) in
            let bytes = rgb.assumingMemoryBound(to: UInt8.self).baseAddress
            try calling(Self.name) {
                cm_live_encoder_encode(handle, bytes, asKeyFrame, &unit, $0)
            }
        }
        let bytes = UnsafeBufferPointer(start: unit.bytes, count: unit.size)
        return AccessUnit(bytes: Array(bytes), isKeyFrame: unit.key)
    }

    /// A bit rate at which restyled video looks good: 0.2 bits a pixel, from 0.3 to 8 Mbit/s.
    package static func bitsPerSecond(
        width: Int,
        height: Int,
        framesPerSecond: Double
    ) -> Int {
        let rate = 0.2 * Double(width) * Double(height) * framesPerSecond
        return Int(min(max(rate, 300_000), 8_000_000))
    }
}
