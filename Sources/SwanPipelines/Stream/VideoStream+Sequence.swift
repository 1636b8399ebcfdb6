public import SwanMedia
import SwanSystem
import SwanThreads
import Synchronization

extension VideoStream {
    /// Returns the restyled frames of `source` as an asynchronous sequence.
    ///
    /// All work is done on the stream's own threads; tasks only pass frames through bounded queues.
    /// Releasing the sequence ends the stream.
    ///
    /// - Parameter inbox: The queue of input frames; for live video, use one that drops the oldest.
    public func frames<Source: AsyncSequence & Sendable>(
        from source: Source,
        inbox: FrameInbox = FrameInbox(capacity: 8, whenFull: .wait)
    ) -> AsyncThrowingStream<VideoFrame, any Error> where Source.Element == VideoFrame {
        let run = SequenceRun(self, source, inbox)
        return AsyncThrowingStream { try await run.next() }
    }
}

/// A stream between two tasks: one that feeds it and one that consumes its output.
private final class SequenceRun: Sendable {
    private let inbox: FrameInbox
    private let outbox = BoundedQueue<VideoFrame>(capacity: 8)
    private let failure = FirstFailure()
    private let feeder: Task<Void, Never>

    init<Source: AsyncSequence & Sendable>(
        _ stream: VideoStream,
        _ source: Source,
        _ inbox: FrameInbox
    ) where Source.Element == VideoFrame {
        self.inbox = inbox
        feeder = Task { [failure] in
            do {
                for try await frame in source {
                    guard await inbox.send(TimedFrame(frame)) else { break }
                }
            } catch {
                failure.note(error)
            }
            inbox.close()
        }
        do throws(SwanError) {
            try startThread("swan.stream") { [outbox, failure] in
                Self.run(stream, inbox, outbox, failure)
            }
        } catch {
            failure.note(error)
            outbox.close()
        }
    }

    deinit {
        feeder.cancel()
        inbox.close(dropping: true)
        outbox.close(dropping: true)
    }

    func next() async throws -> VideoFrame? {
        if let frame = await outbox.receive() { return frame }
        if let error = failure.error { throw error }
        return nil
    }

    private static func run(
        _ stream: VideoStream,
        _ inbox: FrameInbox,
        _ outbox: BoundedQueue<VideoFrame>,
        _ failure: FirstFailure
    ) {
        let waiting = inbox.source
        let source = StreamSource(
            next: {
                if let frame = try waiting.next() { return frame }
                if let error = failure.error { throw error }
                return nil
            },
            cancel: waiting.cancel
        )
        do {
            try stream.run(source) { chunk in chunk.frames.allSatisfy { outbox.put($0) } }
        } catch {
            failure.note(error)
        }
        outbox.close()
    }
}

/// The first error of several threads and tasks.
private final class FirstFailure: Sendable {
    private let first = Mutex<(any Error)?>(nil)

    var error: (any Error)? { first.withLock { $0 } }

    func note(_ error: any Error) {
        first.withLock { first in
            if first == nil { first = error }
        }
    }
}
