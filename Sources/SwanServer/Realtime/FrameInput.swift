import SwanMedia

/// Makes what decodes the frames of a session's client. The stream calls it for the frames that it takes: those that
/// it drops cost little.
struct FrameInput: Sendable {
    private let maxPixels: Int
    private let video: VideoInput

    /// Creates an input for frames of a limited size.
    init(maxPixels: Int) {
        self.maxPixels = maxPixels
        video = VideoInput(maxPixels: maxPixels)
    }

    /// What decodes a frame.
    ///
    /// - Parameter requestKeyFrame: Asks the client for a key frame of H.264.
    func decoder(
        _ codec: FrameHeader.Codec,
        _ bytes: [UInt8],
        requestKeyFrame: @escaping @Sendable () -> Void
    ) -> @Sendable () throws -> VideoFrame {
        switch codec {
        case .h264: video.add(bytes, requestKeyFrame: requestKeyFrame)
        case .jpeg: picture(bytes) { try JPEG.decode($0, maxPixels: $1) }
        case .png: picture(bytes) { try decodeImage($0, name: "the picture", maxPixels: $1) }
        }
    }

    /// Notes that a frame was not added, as while the session is paused.
    func skip(_ codec: FrameHeader.Codec) {
        if codec == .h264 { video.skip() }
    }

    private func picture(
        _ bytes: [UInt8],
        _ decode: @escaping @Sendable (UnsafeRawBufferPointer, Int) throws -> VideoFrame
    ) -> @Sendable () throws -> VideoFrame {
        { [maxPixels] in
            try bytes.withUnsafeBytes { try decode($0, maxPixels) }
        }
    }
}
