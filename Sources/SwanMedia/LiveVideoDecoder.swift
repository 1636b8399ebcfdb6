import CMedia
package import SwanSystem

/// Decodes live H.264 without B-frames: each access unit becomes a frame at once.
///
/// May be used by one thread at a time.
package final class LiveVideoDecoder {
    private let handle: OpaquePointer
    private static let name = "H.264"

    /// Opens a decoder.
    ///
    /// - Parameter maxPixels: Larger frames are refused by their header, before memory is allocated.
    package init(maxPixels: Int) throws(SwanError) {
        var opened: OpaquePointer?
        try calling(Self.name) { cm_live_decoder_open(&opened, Int64(maxPixels), $0) }
        guard let opened else {
            throw SwanError(.outOfMemory, "\(Self.name): out of memory for a decoder")
        }
        handle = opened
    }

    deinit { cm_live_decoder_free(handle) }

    /// Decodes the next access unit. After an error, only a key frame can be decoded.
    ///
    /// - Throws: `decoder` for damage and for a stream that delays its frames, `tooLarge` for large frames.
    package func decode(_ unit: [UInt8]) throws(SwanError) -> VideoFrame {
        let (width, height) = try pass(unit)
        return try VideoFrame(width: width, height: height) { (target) throws(SwanError) in
            let rgb = target.assumingMemoryBound(to: UInt8.self).baseAddress
            try calling(Self.name) { cm_live_decoder_copy(handle, rgb, target.count, $0) }
        }
    }

    /// Decodes an access unit whose frame is not needed, but to which later ones refer.
    package func skip(_ unit: [UInt8]) throws(SwanError) { _ = try pass(unit) }

    private func pass(_ unit: [UInt8]) throws(SwanError) -> (width: Int, height: Int) {
        var (width, height) = (Int32(0), Int32(0))
        try lending(unit) { (bytes) throws(SwanError) in
            let start = bytes.assumingMemoryBound(to: UInt8.self).baseAddress
            try calling(Self.name) {
                cm_live_decoder_decode(handle, start, bytes.count, &width, &height, $0)
            }
        }
        return (Int(width), Int(height))
    }

    /// Whether decoding can begin with an access unit.
    package static func isKeyFrame(_ unit: [UInt8]) -> Bool {
        unit.withUnsafeBufferPointer { cm_is_key_frame($0.baseAddress, $0.count) }
    }
}
