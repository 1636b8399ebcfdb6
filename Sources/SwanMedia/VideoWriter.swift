import Synchronization

/// What becomes of the input's sound.
public enum AudioCopy: Sendable, Hashable {
    /// It goes into the output bit for bit.
    case copied
    /// The container does not take it as it is: it is encoded anew. The names are FFmpeg's.
    case encoded(from: String, by: String)
    /// The output has pictures only, and why.
    case skipped(reason: String)
}

/// Encodes frames into a video file, a pipe, or PNG pictures, chosen by the path's extension.
///
/// A file appears under its name when `finish()` succeeds, all at once; otherwise nothing is left of it.
public final class VideoWriter: Sendable {
    /// The codings there are.
    public enum Codec: Sendable, Hashable {
        /// H.264 in .mp4 and .mov, FFV1 in .mkv.
        case automatic
        /// 4:2:0, BT.709. Where FFmpeg has no libx264, OpenH264 or MPEG-4 takes its place: see `encoder`.
        case h264
        /// H.264 over RGB: exact, and readable by few players.
        case h264Lossless
        /// Exact.
        case ffv1
        /// MPEG-4 part 2, 4:2:0.
        case mpeg4
    }

    /// How to write.
    public struct Options: Sendable {
        /// How pixels are coded.
        public var codec: Codec
        /// H.264's quality: 0 best ... 51 worst.
        public var crf: Double
        /// libx264's preset, from `ultrafast` to `placebo`.
        public var preset: String
        /// Encoding threads; `nil` chooses by the size of the picture.
        public var threads: Int?
        /// Whether a file that has the output's name at the end is replaced; `exists` is thrown if not.
        public var replaces: Bool

        /// The usual way, but for what is named.
        public init(
            codec: Codec = .automatic,
            crf: Double = 18,
            preset: String = "veryfast",
            threads: Int? = nil,
            replaces: Bool = true,
        ) {
            self.codec = codec
            self.crf = crf
            self.preset = preset
            self.threads = threads
            self.replaces = replaces
        }
    }

    private struct State {
        var sink: (any FrameSink)?
        var frames = 0
        var audio = WrittenAudio()
    }

    /// Where the output will lie, as it was given.
    public let path: String
    /// In pixels.
    public let width: Int
    /// In pixels.
    public let height: Int
    /// The encoder in use, as FFmpeg calls it; `mpeg4` or `libopenh264` where libx264 is missing.
    public let encoder: String
    private let state: Mutex<State>

    /// Opens the output: a path, or `-` for YUV4MPEG2 on standard output.
    ///
    /// Throws `unsupported` for an extension or a size that cannot be written (the message says which can),
    /// `cannotCreate` where the file cannot be made.
    ///
    /// - Parameter frames: how many frames there will be, where that is known. A `.png` without a number in
    ///   its name is for a single one.
    public init(
        path: String,
        width: Int,
        height: Int,
        frameRate: Rational,
        frames: Int? = nil,
        options: Options = Options(),
    ) throws(MediaError) {
        let size = PixelSize(width: width, height: height)
        let sink: any FrameSink
        switch try OutputFormat(path: path, codec: options.codec) {
        case .movie(let container, let codec):
            sink = try MovieSink(
                path: path,
                container: container,
                codec: codec,
                size: size,
                frameRate: frameRate,
                options: options,
            )
        case .y4m:
            sink = try Y4MSink(
                path: path,
                size: size,
                frameRate: frameRate,
                replaces: options.replaces,
            )
        case .pictures(let pattern):
            sink = try PictureSink(pattern: pattern, size: size, replaces: options.replaces)
        case .picture:
            guard frames == 1 else { throw FramePattern.malformed(path) }
            sink = try SinglePictureSink(path: path, size: size, replaces: options.replaces)
        }
        self.path = path
        self.width = width
        self.height = height
        encoder = sink.encoder
        state = Mutex(State(sink: sink))
    }

    /// Before the first frame: carries the sound of the file at `source` over, in step with the frames.
    ///
    /// It begins with the first frame and ends with the last one; see `finish(keepingAudio:)`.
    @discardableResult
    public func copyAudio(from source: String) -> AudioCopy {
        state.withLock { state in
            guard let sink = state.sink else { return .skipped(reason: "\(path): is closed") }
            return sink.copyAudio(from: source)
        }
    }

    /// Whether there is sound in the output; known when `finish` has returned.
    public var hasAudio: Bool { state.withLock { $0.audio.isThere } }

    /// Packets of sound that could not be carried over; known when `finish` has returned.
    public var damagedAudioPackets: Int { state.withLock { $0.audio.damagedPackets } }

    /// Frames written so far.
    public var frameCount: Int { state.withLock { $0.frames } }

    /// Appends one frame of the writer's size.
    public func append(_ frame: VideoFrame) throws(MediaError) {
        guard frame.width == width, frame.height == height else {
            throw MediaError(
                .invalidArgument,
                "\(path): a frame of \(frame.width)x\(frame.height) in a video of \(width)x\(height)",
            )
        }
        try frame.withUnsafeBytes { (bytes) throws(MediaError) in try append(rgb: bytes) }
    }

    /// Appends packed RGB24 bytes, `3 * width * height` of them.
    ///
    /// After a failure the output is given up and removed.
    public func append(rgb: UnsafeRawBufferPointer) throws(MediaError) {
        guard rgb.count == 3 * width * height else {
            throw MediaError(
                .invalidArgument,
                "\(path): a frame has \(3 * width * height) bytes, not \(rgb.count)",
            )
        }
        let lent = LentBytes(bytes: rgb)
        try state.withLock { (state) throws(MediaError) in
            guard let sink = state.sink else { throw closed }
            do throws(MediaError) {
                try sink.append(lent.bytes)
                state.frames += 1
            } catch {
                state.sink = nil
                throw error
            }
        }
    }

    /// Completes the output and gives it its name; throws `empty` where no frame was written.
    ///
    /// - Parameter keepingAudio: whether sound that goes on after the last frame is kept, rather than cut:
    ///   where the output shows all that the input shows.
    public func finish(keepingAudio: Bool = false) throws(MediaError) {
        try state.withLock { (state) throws(MediaError) in
            guard let sink = state.sink else { throw closed }
            state.sink = nil
            state.audio = try sink.finish(keepingAudio: keepingAudio)
        }
    }

    /// Gives the output up: nothing is left of an unfinished file. No effect after `finish()`.
    public func cancel() {
        state.withLock { $0.sink = nil }
    }

    private var closed: MediaError {
        MediaError(.invalidArgument, "\(path): is finished, cancelled, or given up after an error")
    }
}

/// Bytes that are read during one call, and kept by nobody.
private struct LentBytes: @unchecked Sendable {
    let bytes: UnsafeRawBufferPointer
}
