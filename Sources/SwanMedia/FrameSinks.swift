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
    /// The number of frames that the output cannot show, because they follow the one before too fast.
    var skippedFrames: Int { get }
}

/// The audio in a finished output.
struct WrittenAudio {
    var isPresent = false
    var damagedPackets = 0
}

extension FrameSink {
    var hasTimes: Bool { false }
    var skippedFrames: Int { 0 }

    func copyAudio(from path: String, track: MediaTrack?) -> AudioCopy {
        .skipped(reason: "this kind of output has no audio")
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
        if standardOutput { try requireNoTerminal() }
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

/// Takes frames and writes nothing.
final class NullSink: FrameSink {
    var encoder: String { "none" }
    var hasTimes: Bool { true }

    func append(_ rgb: UnsafeRawBufferPointer, at seconds: Double?) {}
    func finish(keepingAudio: Bool) -> WrittenAudio { WrittenAudio() }
}
