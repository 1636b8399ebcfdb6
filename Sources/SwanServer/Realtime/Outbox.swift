import Foundation

/// What waits to be sent to a client: messages, and frames, of which the newest win.
///
/// Messages are few and bounded by the requests that cause them. If the client reads too slowly, the oldest
/// chunk of frames is dropped and counted.
final class Outbox: @unchecked Sendable {
    /// Something to send.
    enum Item: Sendable {
        case message(ServerMessage)
        case frame(OutputFrame)
    }

    // Everything below is protected by `lock`.
    private let lock = NSLock()
    private let frameCapacity: Int
    private var messages: [ServerMessage] = []
    private var frames: [OutputFrame] = []
    private var isOpen = true
    private var last: ServerMessage?
    private var dropped = 0
    private var waiting: CheckedContinuation<Void, Never>?

    /// Creates an outbox for at most `frameCapacity` frames.
    init(frameCapacity: Int) { self.frameCapacity = max(1, frameCapacity) }

    /// The number of frames that were dropped because the client reads too slowly.
    var droppedFrames: Int { lock.withLock { dropped } }

    /// Counts frames that were dropped before they were put here.
    func countDropped(_ count: Int) { lock.withLock { dropped += count } }

    func put(_ message: ServerMessage) {
        lock.withLock {
            guard isOpen, messages.count < 256 else { return }
            messages.append(message)
            wake()
        }
    }

    func put(_ new: [OutputFrame]) {
        lock.withLock {
            guard isOpen else { return }
            frames += new
            if frames.count > frameCapacity {
                dropped += frames.count - frameCapacity
                frames.removeFirst(frames.count - frameCapacity)
            }
            wake()
        }
    }

    /// The number of frames that wait.
    var frameCount: Int { lock.withLock { frames.count } }

    /// Removes and returns the frames that wait.
    func takeFrames() -> [OutputFrame] {
        lock.withLock {
            defer { frames = [] }
            return frames
        }
    }

    /// Ends the outbox; what is in it can still be taken, and a last message after it.
    func close(after last: ServerMessage? = nil) {
        lock.withLock {
            guard isOpen else { return }
            isOpen = false
            self.last = last
            wake()
        }
    }

    /// Removes the next item, messages first, waiting for it; nil at the end or if the task is cancelled.
    func next() async -> Item? {
        while !Task.isCancelled {
            let (item, isOver): (Item?, Bool) = lock.withLock {
                if !messages.isEmpty { return (.message(messages.removeFirst()), false) }
                if !frames.isEmpty { return (.frame(frames.removeFirst()), false) }
                defer { last = nil }
                return (last.map { .message($0) }, !isOpen)
            }
            if item != nil || isOver { return item }
            await wait()
        }
        return nil
    }

    private func wait() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isReady = lock.withLock {
                    guard messages.isEmpty, frames.isEmpty, isOpen, !Task.isCancelled else {
                        return true
                    }
                    waiting = continuation
                    return false
                }
                if isReady { continuation.resume() }
            }
        } onCancel: {
            lock.withLock { wake() }
        }
    }

    /// Resumes the reader; the lock is held.
    private func wake() {
        waiting?.resume()
        waiting = nil
    }
}

/// An encoded frame with its header, ready to be sent.
struct OutputFrame: Sendable {
    var header: FrameHeader
    let picture: [UInt8]
    let arrival: ContinuousClock.Instant

    /// The binary message, with the time that the frame has spent here.
    func message() -> [UInt8] {
        var header = header
        let duration = (ContinuousClock.now - arrival) / .milliseconds(1)
        header.milliseconds = UInt32(min(max(duration, 0), 1e9))
        return header.bytes + picture
    }
}
