import CMedia
import Glibc
import SwanSystem

/// The destination of a `VideoWriter`'s frames. Releasing an unfinished sink removes its output.
protocol FrameSink: AnyObject {
    /// FFmpeg's name of the encoder.
    var encoder: String { get }
    /// Whether each frame has a time of its own.
    var hasTimes: Bool { get }
    /// Appends a frame.
    ///
    /// - Parameter seconds: When it is shown, for outputs with times; nil for one frame after the last.
    func append(_ rgb: UnsafeRawBufferPointer, at seconds: Double?) throws(SwanError)
    /// Completes the output and returns what was written of the audio.
    func finish(keepingAudio: Bool) throws(SwanError) -> WrittenAudio
    func copyAudio(from path: String, track: MediaTrack?) -> AudioCopy
}

/// The audio in a finished output.
struct WrittenAudio {
    var isPresent = false
    var damagedPackets = 0
}

extension FrameSink {
    var hasTimes: Bool { false }

    func copyAudio(from path: String, track: MediaTrack?) -> AudioCopy {
        .skipped(reason: "this kind of output has no audio")
    }
}

/// Encodes frames into a container.
final class MovieSink: FrameSink {
    private let name: String
    private let movie: OpaquePointer
    private var file: PartialFile?

    init(
        path: String,
        container: String,
        codec: VideoWriter.Codec,
        size: PixelSize,
        frameRate: Rational,
        options: VideoWriter.Options,
    ) throws(SwanError) {
        name = path
        let file = try PartialFile(target: path, replaces: options.replaces)
        guard !file.isDirect else {
            throw SwanError(
                .unsupported,
                "\(path): is a pipe or a device, which supports only YUV4MPEG2 output"
            )
        }
        var settings = cm_movie_options()
        settings.width = Int32(clamping: size.width)
        settings.height = Int32(clamping: size.height)
        settings.frame_rate = frameRate.asC
        settings.codec = codec.asC
        settings.crf = options.crf
        settings.varies = options.varies
        settings.threads = Int32(clamping: options.threads ?? 0)
        var opened: OpaquePointer?
        let hidden = file.path
        try calling(path) { error in
            options.preset.withCString { preset in
                settings.preset = preset
                return cm_movie_open(&opened, hidden, container, &settings, error)
            }
        }
        guard let opened else {
            throw SwanError(.outOfMemory, "\(path): out of memory for a writer")
        }
        movie = opened
        self.file = consume file
    }

    deinit {
        cm_movie_free(movie)
    }

    var encoder: String { String(cString: cm_movie_encoder(movie)) }
    var hasTimes: Bool { true }

    func append(_ rgb: UnsafeRawBufferPointer, at seconds: Double?) throws(SwanError) {
        let bytes = rgb.assumingMemoryBound(to: UInt8.self)
        try calling(name) { cm_movie_append(movie, bytes.baseAddress, seconds ?? -1, $0) }
    }

    func finish(keepingAudio: Bool) throws(SwanError) -> WrittenAudio {
        try calling(name) { cm_movie_finish(movie, keepingAudio, $0) }
        try file.take()?.commit()
        return WrittenAudio(
            isPresent: cm_movie_has_audio(movie),
            damagedPackets: Int(cm_movie_damaged_audio(movie))
        )
    }

    func copyAudio(from path: String, track: MediaTrack?) -> AudioCopy {
        do throws(SwanError) {
            let name = path == "-" ? "standard input" : path
            let index = Int32(clamping: track?.index ?? -1)
            try calling(name) { cm_movie_carry(movie, path, index, $0) }
        } catch {
            return .skipped(reason: error.message)
        }
        guard let encoder = cm_movie_audio_encoder(movie), let codec = cm_movie_audio_codec(movie)
        else { return .copied }
        return .encoded(from: String(cString: codec), by: String(cString: encoder))
    }
}

/// Writes YUV4MPEG2 to a file or to standard output.
final class Y4MSink: FrameSink {
    private let name: String
    private let stream: OpaquePointer
    private var file: PartialFile?

    init(
        path: String,
        size: PixelSize,
        frameRate: Rational,
        replaces: Bool
    ) throws(SwanError) {
        let standardOutput = path == "-"
        let name = standardOutput ? "standard output" : path
        if standardOutput, isatty(STDOUT_FILENO) == 1 {
            throw SwanError(
                .cannotWrite,
                "\(name): is a terminal; redirect it to a program or a file"
            )
        }
        var file = standardOutput ? nil : try PartialFile(target: path, replaces: replaces)
        let descriptor = try file?.makeDescriptor() ?? STDOUT_FILENO
        var opened: OpaquePointer?
        try calling(name) { error in
            cm_y4m_open(
                &opened,
                descriptor,
                !standardOutput,
                Int32(clamping: size.width),
                Int32(clamping: size.height),
                frameRate.asC,
                error,
            )
        }
        guard let opened else {
            throw SwanError(.outOfMemory, "\(name): out of memory for a writer")
        }
        self.name = name
        stream = opened
        self.file = file.take()
    }

    deinit {
        cm_y4m_free(stream)
    }

    var encoder: String { "yuv4mpeg" }

    func append(_ rgb: UnsafeRawBufferPointer, at seconds: Double?) throws(SwanError) {
        let bytes = rgb.assumingMemoryBound(to: UInt8.self)
        try calling(name) { cm_y4m_append(stream, bytes.baseAddress, $0) }
    }

    func finish(keepingAudio: Bool) throws(SwanError) -> WrittenAudio {
        try calling(name) { cm_y4m_finish(stream, $0) }
        try file.take()?.commit()
        return WrittenAudio()
    }
}

/// Writes a PNG file per frame. Files already written are complete and remain if the rest is
/// cancelled.
final class ImageSequenceSink: FrameSink {
    private let pattern: FramePattern
    private let encoding: PNGEncoder
    private let replaces: Bool
    private var count = 0

    init(pattern: FramePattern, size: PixelSize, replaces: Bool) throws(SwanError) {
        if let directory = pattern.directory {
            let made = mkdir(directory, 0o777)
            if made != 0, errno != EEXIST {
                throw PartialFile.failure(directory, creating: true, errno)
            }
        }
        self.pattern = pattern
        self.replaces = replaces
        encoding = try PNGEncoder(name: pattern.path(1), size: size)
        // Report an output that cannot be written before the first frame is computed.
        let probe = try PartialFile(target: pattern.path(1))
        _ = consume probe
    }

    var encoder: String { "png" }

    func append(_ rgb: UnsafeRawBufferPointer, at seconds: Double?) throws(SwanError) {
        try encoding.write(rgb, to: pattern.path(count + 1), replaces: replaces)
        count += 1
    }

    func finish(keepingAudio: Bool) throws(SwanError) -> WrittenAudio {
        guard count > 0 else {
            throw SwanError(.empty, "\(pattern.path(1)): no frame was written")
        }
        return WrittenAudio()
    }
}

/// Writes one PNG file, which appears under its name when it is finished.
final class ImageSink: FrameSink {
    private let path: String
    private let encoding: PNGEncoder
    private var file: PartialFile?
    private var image: [UInt8] = []

    init(path: String, size: PixelSize, replaces: Bool) throws(SwanError) {
        self.path = path
        encoding = try PNGEncoder(name: path, size: size)
        file = try PartialFile(target: path, replaces: replaces)
    }

    var encoder: String { "png" }

    func append(_ rgb: UnsafeRawBufferPointer, at seconds: Double?) throws(SwanError) {
        guard image.isEmpty else { throw FramePattern.malformed(path) }
        image = Array(try encoding.encode(rgb, name: path))
    }

    func finish(keepingAudio: Bool) throws(SwanError) -> WrittenAudio {
        guard !image.isEmpty, let file = file.take() else {
            throw SwanError(.empty, "\(path): no frame was written")
        }
        try lending(image) { (bytes) throws(SwanError) in try file.write(bytes) }
        try file.commit()
        return WrittenAudio()
    }
}
