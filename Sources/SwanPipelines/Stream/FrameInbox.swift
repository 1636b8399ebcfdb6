import SwanMedia
import SwanThreads

/// Frames that wait for a live stream, a limited number of them.
public final class FrameInbox: Sendable {
    /// What happens to a frame for which there is no room.
    public enum Policy: Sendable {
        /// It waits: no frame is lost, and the latency grows to what the inbox holds.
        case wait
        /// The oldest frame is dropped for it: the latency stays, and the stream skips.
        case dropOldest
    }

    private let queue: BoundedQueue<TimedFrame>

    /// An inbox for at most `capacity` frames.
    public init(capacity: Int, whenFull policy: Policy) {
        queue = BoundedQueue(
            capacity: capacity,
            whenFull: policy == .wait ? .wait : .dropOldest
        )
    }

    /// Frames that were dropped for newer ones.
    public var droppedFrames: Int { queue.droppedCount }

    /// Puts a frame in, having its thread wait for room; false if the inbox is closed.
    @discardableResult
    public func put(_ frame: TimedFrame) -> Bool { queue.put(frame) }

    /// Puts a frame in when there is room; false if the inbox is closed or the task is cancelled.
    @discardableResult
    public func send(_ frame: TimedFrame) async -> Bool { await queue.send(frame) }

    /// Lets no more frames in; those that wait go into the stream unless they are to be `dropped`.
    public func close(dropping: Bool = false) { queue.close(dropping: dropping) }

    /// The inbox as a stream's source; at the end of the stream it is closed.
    public var source: StreamSource {
        StreamSource(
            next: { [queue] in queue.take() },
            cancel: { [queue] in queue.close(dropping: true) }
        )
    }
}
