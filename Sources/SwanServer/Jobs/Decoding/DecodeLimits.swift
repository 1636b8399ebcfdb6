/// What decoding an upload may cost.
package struct DecodeLimits: Sendable, Equatable {
    /// The maximum number of pixels of a picture.
    package var picturePixels = 50_000_000
    /// The maximum number of pixels of a video's frame.
    package var videoPixels = 4_096 * 2_304
    /// The maximum number of frames that are decoded of a video.
    package var frames = 10_000
    /// The memory of the decoding process beyond its program, in bytes.
    package var memoryBytes = 1 << 30
    /// The processor time of the decoding process, in seconds.
    package var processorSeconds = 1_800
    /// The time that the decoding process has for each frame.
    package var frameTimeout: Duration = .seconds(20)

    /// Creates the default limits.
    package init() {}
}
