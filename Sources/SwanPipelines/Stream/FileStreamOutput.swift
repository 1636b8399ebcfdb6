import Logging
import SwanMedia
import SwanSystem
import SwanThreads
import Synchronization

/// The video that a `FileStream` writes: encoded behind the stream, on a thread.
final class FileStreamOutput: Sendable {
    /// What a video looks like from outside.
    struct Shape {
        let width, height: Int
        let frameRate: Rational
        /// The frames there will be, where that is known.
        let frames: Int?
    }

    private struct State {
        var seconds = 0.0
        var firstFrame: ContinuousClock.Instant?
    }

    private let writer: VideoWriter
    private let log: Logger
    private let queue: BoundedQueue<VideoFrame>
    private let state = Mutex(State())

    /// Opens the file that a request names.
    init(_ request: FileStreamRequest, _ shape: Shape, _ log: Logger) throws {
        do throws(SwanError) {
            writer = try VideoWriter(
                path: request.output,
                width: shape.width,
                height: shape.height,
                frameRate: shape.frameRate,
                frames: shape.frames,
                options: VideoWriter.Options(replaces: request.overwrites)
            )
        } catch {
            guard error.code == .unsupported else { throw error }
            // The name or the size was asked for, so it is the request that is wrong.
            throw SwanError(.invalidRequest, error.message)
        }
        self.log = log
        queue = BoundedQueue(capacity: VideoFrame.queueCapacity(shape.width, shape.height))
    }

    /// Throws where the disk is full, or where plain frames will not have room on it.
    static func requireRoom(_ path: String, _ shape: Shape) throws {
        guard path != "-", !OutputPath.isWrittenDirectly(path) else { return }
        let isPlain = path.lowercased().hasSuffix(".y4m")
        let frameBytes = shape.width * shape.height * 3 / 2
        let bytes = isPlain ? min(shape.frames ?? 1, 1 << 30) * frameBytes : 0
        try DiskSpace.require(max(bytes, Self.leastRoom), for: path)
    }

    /// Compressed, a video may be of any length; with less than this it is not begun.
    private static let leastRoom = 1 << 20

    /// Frames in the file.
    var frameCount: Int { writer.frameCount }
    /// What encodes them.
    var encoder: String { writer.encoder }
    /// Whether the input's sound is in it.
    var hasAudio: Bool { writer.hasAudio }
    /// Seconds that encoding and writing took.
    var seconds: Double { state.withLock { $0.seconds } }
    /// When the first frame was in it.
    var firstFrame: ContinuousClock.Instant? { state.withLock { $0.firstFrame } }

    // MARK: - Frames

    /// Begins to write what is put in.
    ///
    /// - Parameter ended: called on the thread when it writes no more.
    func start(_ threads: WorkerThreads, ended: @escaping @Sendable () -> Void) throws {
        let end = { @Sendable [queue] in
            queue.close(dropping: true)
            ended()
        }
        try threads.start("swan.write", atEnd: end) { [self] in
            while let frame = queue.take() { try write(frame) }
        }
    }

    private func write(_ frame: VideoFrame) throws {
        let start = ContinuousClock.now
        try writer.append(frame)
        let end = ContinuousClock.now
        state.withLock { state in
            state.seconds += (end - start).seconds
            if state.firstFrame == nil { state.firstFrame = end }
        }
    }

    /// Puts frames in, waiting for room; false if no more are wanted.
    func put(_ frames: [VideoFrame]) -> Bool { frames.allSatisfy { queue.put($0) } }

    /// Lets no more frames in.
    func close(dropping: Bool = false) { queue.close(dropping: dropping) }

    /// Writes the end of the file.
    func finish(keepingAudio: Bool) throws {
        let start = ContinuousClock.now
        try writer.finish(keepingAudio: keepingAudio)
        let seconds = (ContinuousClock.now - start).seconds
        state.withLock { $0.seconds += seconds }
    }

    /// From any thread: leaves nothing of the file.
    func cancel() { writer.cancel() }

    // MARK: - Sound, and what is said

    /// Whether a file's sound is to go into this one.
    func copyAudio(from path: String) -> Bool {
        switch writer.copyAudio(from: path) {
        case .copied: return true
        case .encoded(let codec, let encoder):
            log.notice(
                """
                the input's sound is '\(codec)', which this kind of file does not hold: it is encoded \
                anew by '\(encoder)'
                """
            )
            return true
        case .skipped(let reason):
            log.warning("the output has no sound: \(reason)")
            return false
        }
    }

    /// Says of an encoder that it is not the one that was hoped for.
    func warnOfEncoder() {
        guard writer.encoder == "mpeg4" || writer.encoder == "libopenh264" else { return }
        log.warning(
            """
            this FFmpeg has no libx264: the video is encoded by \(writer.encoder), which needs \
            more bytes for the same quality
            """
        )
    }

    /// Says what of the sound that was to be copied is not there.
    func warnOfSound() {
        guard writer.frameCount > 0 else { return }
        if !writer.hasAudio {
            log.warning("the output has no sound: none of the input's belongs to its frames")
        }
        if writer.damagedAudioPackets > 0 {
            log.warning("\(writer.damagedAudioPackets) damaged packets of sound were passed over")
        }
    }
}
