import Foundation
public import Logging
public import SwanMedia
import SwanSystem
import SwanThreads
import Synchronization

/// A video source opened by its name: a file, a pipe, a camera, a screen or a network address.
///
/// A thread of its own reads the frames. A live source never waits for the stream: if the stream is busy, newer
/// frames replace older ones. A file waits. The thread keeps the source until it ends or `close()` is called.
public final class VideoSource: Sendable {
    /// Options for opening.
    public struct Options: Sendable {
        /// The frame rate: to resample a file to, to ask a camera or a screen for, and at most to take from
        /// the network; `nil` for the source's own.
        public var frameRate: Rational?
        /// The maximum number of frames to pass on.
        public var maxFrames: Int?
        /// How long to try to connect, and to connect again after a loss, in seconds; `nil` to try once.
        public var reconnectSeconds: Double?
        /// Whether a file or a pipe is treated as live.
        public var isLive = false

        /// Creates options with defaults.
        public init() {}
    }

    private struct State {
        var reader: VideoReader?
        /// The frames that were dropped when the stream became ready; `nil` before.
        var droppedAtStart: Int?
        var isPaused = false
        var passed = 0
        var drops = FrameDrops()
        var arrivals = RateMeter()
        var decodeSeconds = 0.0
        var thinner: FrameThinner
    }

    /// The properties of the video when it was opened.
    public let info: VideoInfo
    /// Whether frames are dropped rather than waited for.
    public let isLive: Bool
    /// The source's name in messages.
    public let name: String
    /// What an inbox of a live source holds: the frames of the next chunk.
    private static let liveCapacity = 4

    private let options: Options
    private let connection: SourceConnection
    private let inbox: FrameInbox
    private let threads = WorkerThreads()
    private let state: Mutex<State>
    private let lost = FirstFailure()

    /// Opens a source by the name that a person gives it, and decodes its first frame.
    ///
    /// This is the one place where names become sources: `in.mp4`, `-`, `/dev/video0`, `screen:`,
    /// `rtsp://host/path` and the other URLs of `MediaLocation`. Playlists and URLs open nothing but what
    /// their kind may open.
    ///
    /// Throws `invalidRequest` for a name that is none, `deviceUnavailable` for a source that cannot be
    /// reached, and what `VideoReader` throws.
    ///
    /// - Parameter cancellation: Ends waiting for a connection.
    public static func open(
        named name: String,
        options: Options = Options(),
        cancellation: MediaCancellation? = nil,
        log: Logger = Logger(label: "swan.source")
    ) throws -> VideoSource {
        let connection = try SourceConnection(
            MediaLocation(name),
            options,
            cancellation ?? MediaCancellation(),
            log
        )
        return VideoSource(connection, try connection.open(), options)
    }

    private init(_ connection: SourceConnection, _ reader: VideoReader, _ options: Options) {
        self.connection = connection
        self.options = options
        name = connection.location.description
        info = reader.info
        isLive = connection.location.isLive || options.isLive
        let capacity = VideoFrame.queueCapacity(info.width, info.height)
        inbox =
            isLive
            ? FrameInbox(capacity: Self.liveCapacity, whenFull: .dropOldest)
            : FrameInbox(capacity: capacity, whenFull: .wait)
        let thinner = FrameThinner(
            sourceRate: info.frameRate.value,
            limit: options.frameRate?.value
        )
        state = Mutex(State(reader: reader, thinner: thinner))
    }

    // MARK: - Reading

    /// Starts reading. Until `accept()`, the newest frames of a live source wait, and older ones are dropped.
    public func start() throws {
        try threads.start("swan.read", atEnd: { [inbox] in inbox.close() }) { [self] in
            while let frame = try read(), pass(frame) {}
        }
    }

    /// Passes frames on from now on, because the stream is ready.
    public func accept() {
        state.withLock { $0.droppedAtStart = $0.droppedAtStart ?? inbox.droppedFrames }
    }

    /// Whether a person wants a pause.
    public var isPaused: Bool {
        get { state.withLock { $0.isPaused } }
        set { state.withLock { $0.isPaused = newValue } }
    }

    /// Reads the next frame, connecting again if that is wanted; `nil` at the end.
    private func read() throws -> TimedFrame? {
        while let reader = state.withLock({ $0.reader }) {
            let start = ContinuousClock.now
            do {
                if let frame = try reader.nextFrame() {
                    state.withLock { $0.decodeSeconds += (ContinuousClock.now - start).seconds }
                    return connection.timed(frame)
                }
                guard connection.connectsAgain else { return nil }
            } catch {
                guard connection.connectsAgain else {
                    lost.note(error)
                    return nil
                }
            }
            do {
                let next = try connection.openAgain()
                state.withLock { $0.reader = next }
            } catch {
                lost.note(error)
                return nil
            }
        }
        return nil
    }

    /// Passes a frame on, or drops it; returns false if no more are wanted.
    private func pass(_ frame: TimedFrame) -> Bool {
        guard isLive else { return inbox.put(frame) }
        let dropped = inbox.droppedFrames
        let passes = state.withLock { state in
            state.arrivals.add(frame.captureTime)
            guard !state.isPaused else {
                state.drops.paused += 1
                return false
            }
            guard state.droppedAtStart != nil else { return true }
            state.thinner.note(passed: state.passed, dropped: dropped, frame.captureTime)
            return state.thinner.takes(frame.captureTime)
        }
        return passes ? inbox.put(frame) : !connection.isCancelled
    }

    // MARK: - Frames

    /// Waits for the next frame and returns it, or `nil` at the end.
    ///
    /// A source that was lost also ends; `loss` says why.
    public func next() -> TimedFrame? {
        // A file waits; frames of a live source are dropped where they arrive.
        while !isLive, isPaused, !connection.isCancelled { usleep(20_000) }
        let isComplete = state.withLock { $0.passed >= options.maxFrames ?? .max }
        guard !isComplete, let frame = inbox.take() else { return nil }
        state.withLock { $0.passed += 1 }
        // What a file has read ahead is not late.
        return isLive ? frame : TimedFrame(frame.frame)
    }

    /// The source of a stream. Reading has to be started.
    public var streamSource: StreamSource {
        StreamSource(next: { [self] in next() }, cancel: { [self] in close() })
    }

    /// Ends the source. Can be called from any thread.
    public func close() {
        connection.cancel()
        state.withLock { $0.reader }?.interrupt()
        inbox.close(dropping: true)
    }

    /// Waits until the thread has ended, after `close()`.
    func wait() { threads.wait() }

    // MARK: - Figures

    /// Why a live source ended before its sender ended it; `nil` if it did not.
    public var loss: (any Error)? { lost.error ?? threads.failure }
    /// The number of frames passed on.
    public var framesPassed: Int { state.withLock { $0.passed } }
    /// The frames that arrive per second, recently.
    public var fps: Double { state.withLock { $0.arrivals.rate(.now) } }
    /// The time spent reading and decoding, in seconds.
    var decodeSeconds: Double { state.withLock { $0.decodeSeconds } }

    /// The frames that were dropped.
    public var drops: FrameDrops {
        state.withLock { state in
            var drops = state.drops
            let dropped = inbox.droppedFrames
            drops.starting = state.droppedAtStart ?? dropped
            drops.busy += dropped - drops.starting + state.thinner.thinnedFrames
            return drops
        }
    }
}
