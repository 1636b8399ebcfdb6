import SwanMedia
import SwanThreads

/// A bounded queue of frames for a live stream.
public final class FrameInbox: Sendable {
    /// What happens when a frame arrives while the inbox is full.
    public enum Policy: Sendable {
        /// The sender waits: no frame is lost, and latency grows by up to the inbox's capacity.
        case wait
        /// The oldest frame is dropped: latency stays constant, and the stream skips frames.
        case dropOldest
    }

    private let queue: BoundedQueue<TimedFrame>

    /// Creates an inbox for at most `capacity` frames.
    public init(capacity: Int, whenFull policy: Policy) {
        queue = BoundedQueue(
            capacity: capacity,
            whenFull: policy == .wait ? .wait : .dropOldest
        )
    }

    /// The number of frames dropped in favor of newer ones.
    public var droppedFrames: Int { queue.droppedCount }

    /// Adds a frame, blocking the thread until there is space.
    ///
    /// - Returns: `false` if the inbox is closed.
    @discardableResult
    public func put(_ frame: TimedFrame) -> Bool { queue.put(frame) }

    /// Adds a frame when there is space.
    ///
    /// - Returns: `false` if the inbox is closed or the task is canceled.
    @discardableResult
    public func send(_ frame: TimedFrame) async -> Bool { await queue.send(frame) }

    /// Waits for the next frame; `nil` if the inbox is closed and empty.
    func take() -> TimedFrame? { queue.take() }

    /// Stops accepting frames.
    ///
    /// - Parameter dropping: Whether queued frames are discarded instead of streamed.
    public func close(dropping: Bool = false) { queue.close(dropping: dropping) }

    /// The inbox as a stream's source; it is closed when the stream ends.
    public var source: StreamSource {
        StreamSource(
            next: { [queue] in queue.take() },
            cancel: { [queue] in queue.close(dropping: true) }
        )
    }
}
