import Logging
import SwanMedia
import SwanSystem
import SwanThreads
import Synchronization

/// The output video of a `FileStream`, encoded on a separate thread.
final class FileStreamOutput: Sendable {
    /// The size, frame rate and length of a video.
    struct Shape {
        let width, height: Int
        let frameRate: Rational
        /// The expected number of frames, if known.
        let frames: Int?
        /// Whether the rate of frames varies.
        var varies = false
    }

    private struct State {
        var seconds = 0.0
        var firstFrame: ContinuousClock.Instant?
    }

    private let writer: VideoWriter
    /// Whether MPEG-4 is what the container usually holds.
    private let isMPEG4Container: Bool
    private let log: Logger
    private let queue: BoundedQueue<VideoFrame>
    private let state = Mutex(State())

    /// Opens a request's output file.
    init(_ request: FileStreamRequest, _ shape: Shape, _ log: Logger) throws {
        do throws(SwanError) {
            writer = try VideoWriter(
                path: request.output,
                width: shape.width,
                height: shape.height,
                frameRate: shape.frameRate,
                frames: shape.frames,
                options: VideoWriter.Options(
                    replaces: request.overwrites,
                    varies: shape.varies,
                    format: request.format
                )
            )
        } catch {
            guard error.code == .unsupported else { throw error }
            // The name and the size come from the request, so the request is invalid.
            throw SwanError(.invalidRequest, error.message, cause: error)
        }
        let format = request.format ?? Folder.ending(of: request.output)
        isMPEG4Container = format.lowercased() == "avi"
        self.log = log
        queue = BoundedQueue(capacity: VideoFrame.queueCapacity(shape.width, shape.height))
    }

    /// Throws if the disk is full or too small for uncompressed output.
    static func requireRoom(_ request: FileStreamRequest, _ shape: Shape) throws {
        let path = request.output
        guard path != "-", !OutputPath.isWrittenDirectly(path) else { return }
        let isPlain = (request.format ?? Folder.ending(of: path)).lowercased() == "y4m"
        let frameBytes = shape.width * shape.height * 3 / 2
        let bytes = isPlain ? min(shape.frames ?? 1, 1 << 30) * frameBytes : 0
        try DiskSpace.require(max(bytes, Self.leastRoom), for: path)
    }

    /// The minimum free space in bytes; the size of a compressed video is not known in advance.
    private static let leastRoom = 1 << 20

    /// The number of frames in the file.
    var frameCount: Int { writer.frameCount }
    /// Whether the file keeps the time of each frame.
    var hasTimes: Bool { writer.hasTimes }
    /// FFmpeg's name of the encoder.
    var encoder: String { writer.encoder }
    /// Whether the file contains the input's audio.
    var hasAudio: Bool { writer.hasAudio }
    /// The time spent encoding and writing, in seconds.
    var seconds: Double { state.withLock { $0.seconds } }
    /// The time at which the first frame was written.
    var firstFrame: ContinuousClock.Instant? { state.withLock { $0.firstFrame } }

    // MARK: - Frames

    /// Starts writing queued frames.
    ///
    /// - Parameters:
    ///   - time: The time of the next frame, in seconds; nil for one frame after the last.
    ///   - ended: Called on the writing thread when it stops.
    func start(
        _ threads: WorkerThreads,
        time: @escaping @Sendable () -> Double?,
        ended: @escaping @Sendable () -> Void
    ) throws {
        let end = { @Sendable [queue] in
            queue.close(dropping: true)
            ended()
        }
        try threads.start("swan.write", atEnd: end) { [self] in
            while let frame = queue.take() { try write(frame, at: time()) }
        }
    }

    private func write(_ frame: VideoFrame, at time: Double?) throws {
        let start = ContinuousClock.now
        try writer.append(frame, at: time)
        let end = ContinuousClock.now
        state.withLock { state in
            state.seconds += (end - start).seconds
            if state.firstFrame == nil { state.firstFrame = end }
        }
    }

    /// Queues frames, waiting for space; returns `false` if the output accepts no more.
    func put(_ frames: [VideoFrame]) -> Bool { frames.allSatisfy { queue.put($0) } }

    /// Stops accepting frames.
    func close(dropping: Bool = false) { queue.close(dropping: dropping) }

    /// Completes the file.
    func finish(keepingAudio: Bool) throws {
        let start = ContinuousClock.now
        try writer.finish(keepingAudio: keepingAudio)
        let seconds = (ContinuousClock.now - start).seconds
        state.withLock { $0.seconds += seconds }
    }

    /// Removes the unfinished file. Can be called from any thread.
    func cancel() { writer.cancel() }

    // MARK: - Audio and warnings

    /// Sets up copying the audio of another file; returns whether it will be copied.
    func copyAudio(from path: String) -> Bool {
        switch writer.copyAudio(from: path) {
        case .copied: return true
        case .encoded(let codec, let encoder):
            log.notice(
                """
                the input's audio is '\(codec)', which the output format does not support; it is \
                re-encoded with '\(encoder)'
                """
            )
            return true
        case .skipped(let reason):
            log.warning("the output has no sound: \(reason)")
            return false
        }
    }

    /// Copies further tracks of another file, and says which the output cannot have.
    func copy(_ tracks: [MediaTrack], from path: String) {
        for track in tracks {
            guard case .skipped(let reason) = writer.copyAudio(from: path, track: track) else {
                continue
            }
            let language = track.language.isEmpty ? "" : " in '\(track.language)'"
            log.warning(
                "the output lacks track \(track.index), \(track.kind.rawValue)\(language): \(reason)"
            )
        }
    }

    /// Warns of frames that the output cannot show.
    func warnOfSkippedFrames() {
        guard writer.skippedFrames > 0 else { return }
        log.warning(
            """
            the output lacks \(writer.skippedFrames) frames, which follow too fast: a GIF shows at \
            most 50 frames a second (--fps 25 makes it smaller)
            """
        )
    }

    /// Warns if a fallback video encoder is used.
    func warnOfEncoder() {
        guard ["mpeg4", "libopenh264"].contains(writer.encoder), !isMPEG4Container else { return }
        log.warning(
            """
            this FFmpeg has no libx264; the video is encoded with \(writer.encoder), which needs a \
            higher bit rate for the same quality
            """
        )
    }

    /// Warns about audio that was to be copied and is missing or damaged.
    func warnOfSound() {
        guard writer.frameCount > 0 else { return }
        if !writer.hasAudio {
            log.warning("the output has no sound: no audio of the input coincides with its frames")
        }
        if writer.damagedAudioPackets > 0 {
            log.warning("skipped \(writer.damagedAudioPackets) damaged audio packets")
        }
    }
}
