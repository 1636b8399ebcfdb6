import Synchronization
public import SwanSystem

/// How the input's audio is handled.
public enum AudioCopy: Sendable, Hashable {
    /// It is copied bit for bit.
    case copied
    /// It is re-encoded because the container does not support its codec. The names are FFmpeg's.
    case encoded(from: String, by: String)
    /// The output has no audio, for this reason.
    case skipped(reason: String)
}

/// Encodes frames into a video file, a pipe or pictures, chosen by the path's extension or a format's name.
///
/// A file appears under its name only when `finish()` succeeds; otherwise it is removed. Missing folders
/// of its path are created.
public final class VideoWriter: Sendable {
    /// The codecs.
    public enum Codec: Sendable, Hashable {
        /// The usual one of the container: H.264 in .mp4 and .mov, FFV1 in .mkv, VP9 in .webm.
        case automatic
        /// 4:2:0, BT.709. If FFmpeg has no libx264, OpenH264 or MPEG-4 is used instead; see
        /// `encoder`.
        case h264
        /// H.264 in RGB: lossless, but supported by few players.
        case h264Lossless
        /// FFV1: lossless.
        case ffv1
        /// MPEG-4 part 2, 4:2:0.
        case mpeg4
        /// VP9, 4:2:0, BT.709; VP8 if FFmpeg has no VP9.
        case vp9
        /// 256 colors, chosen for the frames.
        case gif
        /// An animated PNG: lossless.
        case apng
        /// An animated WebP.
        case webp
    }

    /// Options for writing.
    public struct Options: Sendable {
        /// The codec.
        public var codec: Codec
        /// H.264's quality, from 0 (best) to 51 (worst).
        public var crf: Double
        /// libx264's preset, from `ultrafast` to `placebo`.
        public var preset: String
        /// The number of encoding threads; `nil` chooses by frame size.
        public var threads: Int?
        /// Whether an existing file may be replaced; otherwise `finish()` throws `exists`.
        public var replaces: Bool
        /// Whether frames have times of their own, instead of a constant rate; see `append(_:at:)`.
        public var varies: Bool
        /// The name of the format, such as `mkv`; `nil` for that of the path's extension.
        public var format: String?

        /// Creates options with defaults.
        public init(
            codec: Codec = .automatic,
            crf: Double = 18,
            preset: String = "veryfast",
            threads: Int? = nil,
            replaces: Bool = true,
            varies: Bool = false,
            format: String? = nil,
        ) {
            self.codec = codec
            self.crf = crf
            self.preset = preset
            self.threads = threads
            self.replaces = replaces
            self.varies = varies
            self.format = format
        }
    }

    private struct State {
        var sink: (any FrameSink)?
        var frames = 0
        var audio = WrittenAudio()
        var skipped = 0
        /// Folders that were made for the output.
        var made: [String] = []
    }

    /// The output path as given.
    public let path: String
    /// In pixels.
    public let width: Int
    /// In pixels.
    public let height: Int
    /// FFmpeg's name of the encoder; `mpeg4` or `libopenh264` if libx264 is missing.
    public let encoder: String
    /// Whether the output keeps the time of each frame, as containers do.
    public let hasTimes: Bool
    private let state: Mutex<State>

    /// Opens an output file, or standard output (`-`), which gets YUV4MPEG2 unless `options` name a
    /// format.
    ///
    /// Throws `unsupported` for an extension or a size that cannot be written (the message lists
    /// those that can), and `cannotWrite` if the file cannot be created.
    ///
    /// - Parameter frames: The number of frames, if known. A picture without a number in its name
    ///   needs one frame.
    public init(
        path: String,
        width: Int,
        height: Int,
        frameRate: Rational,
        frames: Int? = nil,
        options: Options = Options(),
    ) throws(SwanError) {
        let size = PixelSize(width: width, height: height)
        let format = try OutputFormat(
            path: path,
            codec: options.codec,
            format: options.format,
            frames: frames
        )
        if case .picture = format, frames != 1 { throw OutputFormat.onePicture(path) }
        let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? ""
        let made = folder.isEmpty ? [] : try Folder.make(folder)
        let sink: any FrameSink
        do throws(SwanError) {
            sink = try Self.sink(format, path, size, frameRate, options)
        } catch {
            Folder.removeEmpty(made)
            throw error
        }
        self.path = path
        self.width = width
        self.height = height
        encoder = sink.encoder
        hasTimes = sink.hasTimes
        state = Mutex(State(sink: sink, made: made))
    }

    private static func sink(
        _ format: OutputFormat,
        _ path: String,
        _ size: PixelSize,
        _ frameRate: Rational,
        _ options: Options
    ) throws(SwanError) -> any FrameSink {
        switch format {
        case .movie(let container, let codec):
            try MovieSink(
                path: path,
                container: container,
                codec: codec,
                size: size,
                frameRate: frameRate,
                options: options,
            )
        case .y4m:
            try Y4MSink(
                path: path,
                size: size,
                frameRate: frameRate,
                replaces: options.replaces,
            )
        case .pictureSequence(let pattern, let kind):
            try PictureSequenceSink(
                pattern: pattern,
                kind: kind,
                size: size,
                replaces: options.replaces
            )
        case .picture(let kind):
            try PictureSink(path: path, kind: kind, size: size, replaces: options.replaces)
        case .pictureStream(let kind): try PictureStreamSink(kind: kind, size: size)
        case .nothing: NullSink()
        }
    }

    /// Copies the audio of the file at `source`, in sync with the frames. Call this before the
    /// first frame.
    ///
    /// The audio starts with the first frame and ends with the last one; see
    /// `finish(keepingAudio:)`.
    ///
    /// - Parameter track: A further track to copy, of audio or subtitles; nil for the best audio.
    @discardableResult
    public func copyAudio(from source: String, track: MediaTrack? = nil) -> AudioCopy {
        state.withLock { state in
            guard let sink = state.sink else { return .skipped(reason: "\(path): is closed") }
            return sink.copyAudio(from: source, track: track)
        }
    }

    /// Whether the output has audio; final after `finish`.
    public var hasAudio: Bool { state.withLock { $0.audio.isPresent } }

    /// The number of audio packets that could not be copied; final after `finish`.
    public var damagedAudioPackets: Int { state.withLock { $0.audio.damagedPackets } }

    /// The number of frames that the output cannot show, because they follow the one before too
    /// fast; final after `finish`.
    public var skippedFrames: Int { state.withLock { $0.sink?.skippedFrames ?? $0.skipped } }

    /// The number of frames written so far.
    public var frameCount: Int { state.withLock { $0.frames } }

    /// Appends a frame, which must have the writer's size.
    ///
    /// - Parameter seconds: The time since the first frame at which it is shown; nil for one frame
    ///   after the last. A time before that of the last frame is moved behind it. Without
    ///   `Options.varies`, times are rounded to multiples of the frame rate; outputs without
    ///   `hasTimes` ignore them.
    public func append(_ frame: VideoFrame, at seconds: Double? = nil) throws(SwanError) {
        guard frame.width == width, frame.height == height else {
            throw SwanError(
                .invalidArgument,
                "\(path): a frame of \(frame.width)x\(frame.height) does not fit a video of \(width)x\(height)",
            )
        }
        try frame.withUnsafeBytes { (bytes) throws(SwanError) in
            try append(rgb: bytes, at: seconds)
        }
    }

    /// Appends packed RGB24 bytes, `3 * width * height` of them.
    ///
    /// If this throws, the output is discarded.
    public func append(rgb: UnsafeRawBufferPointer, at seconds: Double? = nil) throws(SwanError) {
        guard rgb.count == 3 * width * height else {
            throw SwanError(
                .invalidArgument,
                "\(path): a frame has \(3 * width * height) bytes, not \(rgb.count)",
            )
        }
        let lent = LentBytes(bytes: rgb)
        try state.withLock { (state) throws(SwanError) in
            guard let sink = state.sink else { throw closed }
            do throws(SwanError) {
                try sink.append(lent.bytes, at: seconds)
                state.frames += 1
            } catch {
                state.sink = nil
                throw error
            }
        }
    }

    /// Completes the output and renames it to its final name. Throws `empty` if no frame was
    /// written.
    ///
    /// - Parameter keepingAudio: Whether to keep audio after the last frame, for an output with all
    ///   of the input's frames.
    public func finish(keepingAudio: Bool = false) throws(SwanError) {
        try state.withLock { (state) throws(SwanError) in
            guard let sink = state.sink else { throw closed }
            state.sink = nil
            state.audio = try sink.finish(keepingAudio: keepingAudio)
            state.skipped = sink.skippedFrames
            state.made = []
        }
    }

    /// Discards an unfinished output, and folders made for it. Has no effect after `finish()`.
    public func cancel() {
        state.withLock { state in
            state.sink = nil
            Folder.removeEmpty(state.made)
            state.made = []
        }
    }

    private var closed: SwanError {
        SwanError(.invalidArgument, "\(path): is finished, cancelled, or closed after an error")
    }
}

/// Bytes that are used only during one call.
private struct LentBytes: @unchecked Sendable {
    let bytes: UnsafeRawBufferPointer
}
