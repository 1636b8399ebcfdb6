import Foundation
import Logging
import SwanMedia
import SwanSystem
import SwanThreads
import Synchronization

/// The video that a `FileStream` reads: decoded ahead of the stream, on a thread.
final class FileStreamInput: Sendable {
    private struct State {
        /// The last frame was taken from the file.
        var hasEnded = false
        var seconds = 0.0
    }

    /// What the file says of itself.
    let info: VideoInfo
    private let path: String
    private let maxFrames: Int?
    private let reader: VideoReader
    private let queue: BoundedQueue<VideoFrame>
    private let state = Mutex(State())

    /// Opens a file.
    ///
    /// - Parameters:
    ///   - frameRate: what it is resampled to; nil for its own.
    ///   - maxFrames: frames that are read of it.
    init(_ path: String, frameRate: Rational?, maxFrames: Int?) throws {
        self.path = path
        self.maxFrames = maxFrames
        reader = try VideoReader(path: path, options: VideoReader.Options(frameRate: frameRate))
        info = reader.info
        queue = BoundedQueue(capacity: VideoFrame.queueCapacity(info.width, info.height))
    }

    /// The frames that will be read, as far as the file says.
    var estimatedFrames: Int? {
        // Of pictures FFmpeg's readers are called "png_pipe" and the like.
        let isPicture = info.format.hasSuffix("_pipe")
        guard let frames = info.estimatedFrames ?? (isPicture ? 1 : nil) else { return maxFrames }
        return min(frames, maxFrames ?? .max)
    }

    /// Seconds that decoding took.
    var seconds: Double { state.withLock { $0.seconds } }
    /// Whether it ended before its own index said.
    var isTruncated: Bool { reader.isTruncated }

    /// Whether the frames that were read go as far as the file's pictures.
    var isReadWhole: Bool {
        if state.withLock({ $0.hasEnded }) { return true }
        return maxFrames.map { $0 >= info.estimatedFrames ?? .max } ?? false
    }

    /// Begins to read ahead.
    func start(_ threads: WorkerThreads) throws {
        let end = { @Sendable [queue] in queue.close(dropping: threads.failure != nil) }
        try threads.start("swan.read", atEnd: end) { [self] in
            for _ in 0..<(maxFrames ?? .max) {
                guard let frame = try read(), queue.put(frame) else { break }
            }
        }
    }

    private func read() throws -> VideoFrame? {
        let start = ContinuousClock.now
        let frame = try reader.nextFrame()
        let seconds = (ContinuousClock.now - start).seconds
        state.withLock { state in
            state.seconds += seconds
            if frame == nil { state.hasEnded = true }
        }
        return frame
    }

    /// The next frame, for which it waits; nil at the end.
    func next() -> VideoFrame? { queue.take() }

    /// Has whoever waits for a frame get none.
    func close() { queue.close(dropping: true) }

    /// From any thread: has the reader end, which may wait for a pipe.
    func interrupt() { reader.interrupt() }

    /// Logs what could not be read, and what the output does not keep.
    func warnOfDamage(_ log: Logger) {
        if reader.isTruncated {
            log.warning("\(path): is cut off; the frames that are there were streamed")
        }
        if reader.damagedPackets > 0 {
            log.warning("\(path): \(reader.damagedPackets) damaged packets were skipped")
        }
        if let seconds = reader.unevenSeconds {
            let rate = Int(info.frameRate.value.rounded(.up))
            log.warning(
                """
                \(path): its frame rate varies, by up to \(String(format: "%.1f", seconds)) s from a \
                constant rate, and its sound may be out of step; --fps \(rate) keeps the times
                """
            )
        }
        if reader.changesSize {
            log.warning("\(path): the size of its frames changes; later ones are stretched")
        }
    }
}

extension VideoFrame {
    /// Frames of a size that may wait between two threads: 64, but at most 96 MB of them.
    static func queueCapacity(_ width: Int, _ height: Int) -> Int {
        max(2, min(64, 96_000_000 / max(1, 3 * width * height)))
    }
}
