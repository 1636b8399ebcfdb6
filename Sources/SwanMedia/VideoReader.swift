import CMedia
import Synchronization

/// Decodes the frames of a video file, or of a pipe (`-`), one after another.
///
/// The file is opened alone: playlists and scripts that name other files are refused.
public final class VideoReader: Sendable {
    /// How to read.
    public struct Options: Sendable {
        /// Larger pictures are refused before memory is taken for them.
        public var maxPixels = 64_000_000
        /// Decoding threads; `nil` chooses by the size of the picture.
        public var threads: Int?
        /// Resamples to this constant rate, dropping and repeating frames; `nil` gives every frame once.
        public var frameRate: Rational?

        /// The usual way, but for what is named.
        public init(maxPixels: Int = 64_000_000, threads: Int? = nil, frameRate: Rational? = nil) {
            self.maxPixels = maxPixels
            self.threads = threads
            self.frameRate = frameRate
        }
    }

    private struct State {
        var sampler: FrameRateSampler?
        var ended = false
    }

    /// What the file says about itself.
    public let info: VideoInfo
    private let name: String
    /// Used under the lock of `state`, but for `cm_reader_interrupt`, which may be called from anywhere.
    nonisolated(unsafe) private let handle: OpaquePointer
    private let state: Mutex<State>

    /// Opens a file, or standard input for `-`, and decodes its first frame.
    public init(path: String, options: Options = Options()) throws(MediaError) {
        name = path == "-" ? "standard input" : path
        var settings = cm_reader_options()
        settings.max_pixels = Int64(clamping: options.maxPixels)
        settings.threads = Int32(clamping: options.threads ?? 0)
        guard !path.utf8.contains(0) else { throw MediaError(.noSuchFile, "\(name): no such file") }
        var opened: OpaquePointer?
        try calling(name) { cm_reader_open(&opened, path, &settings, $0) }
        guard let opened else { throw MediaError(.outOfMemory, "\(name): no memory for a reader") }
        handle = opened
        var described = cm_video_info()
        cm_reader_info(opened, &described)
        info = VideoInfo(described, resampledTo: options.frameRate)
        state = Mutex(State(sampler: options.frameRate.map(FrameRateSampler.init(rate:))))
    }

    deinit {
        cm_reader_free(handle)
    }

    /// The next frame, all of the size in `info`; `nil` after the last one.
    public func nextFrame() throws(MediaError) -> VideoFrame? {
        try state.withLock { (state) throws(MediaError) -> VideoFrame? in
            guard state.sampler != nil else { return try decode(&state.ended)?.frame }
            var ended = state.ended
            defer { state.ended = ended }
            return try state.sampler?.next { () throws(MediaError) in try decode(&ended) }
        }
    }

    /// Whether the file ends before its own index says; known for sure after the last frame.
    public var isTruncated: Bool { state.withLock { _ in cm_reader_is_truncated(handle) } }

    /// Packets and frames that could not be decoded so far.
    public var damagedPackets: Int { state.withLock { _ in Int(cm_reader_damaged(handle)) } }

    /// From any thread: ends a wait for a pipe; `nextFrame()` gives `nil` from now on.
    public func interrupt() {
        cm_reader_interrupt(handle)
    }

    private func decode(_ ended: inout Bool) throws(MediaError) -> TimedFrame? {
        guard !ended else { return nil }
        var shown = cm_frame_info()
        var code = CM_OK
        let frame = try VideoFrame(width: info.width, height: info.height) {
            (bytes) throws(MediaError) in
            code = try calling(name) { error in
                cm_reader_next(
                    handle,
                    bytes.baseAddress?.assumingMemoryBound(to: UInt8.self),
                    bytes.count,
                    &shown,
                    error,
                )
            }
        }
        guard code == CM_OK else {
            ended = true
            return nil
        }
        return TimedFrame(frame: frame.shown(at: shown.seconds), duration: shown.duration)
    }
}
