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
        let run = SequenceRun(self, inbox)
        run.feed(source) { TimedFrame($0) }
        let rest = Mutex<ArraySlice<VideoFrame>>([])
        return AsyncThrowingStream {
            if let frame = rest.withLock({ $0.popFirst() }) { return frame }
            while let chunk = try await run.next() {
                rest.withLock { $0 = chunk.frames[...] }
                if let frame = rest.withLock({ $0.popFirst() }) { return frame }
            }
            return nil
        }
    }

    /// Returns the restyled chunks of timed frames as an asynchronous sequence: like `frames(from:)`,
    /// with the capture time of each frame and the latency of each chunk.
    public func chunks<Source: AsyncSequence & Sendable>(
        from source: Source,
        inbox: FrameInbox = FrameInbox(capacity: 8, whenFull: .wait)
    ) -> AsyncThrowingStream<StreamedChunk, any Error> where Source.Element == TimedFrame {
        let run = SequenceRun(self, inbox)
        run.feed(source) { $0 }
        return AsyncThrowingStream { try await run.next() }
    }
}

/// A stream between two tasks: one that feeds it and one that consumes its output.
private final class SequenceRun: Sendable {
    private let inbox: FrameInbox
    private let outbox = BoundedQueue<StreamedChunk>(capacity: 2)
    private let failure = FirstFailure()
    private let feeder = Mutex<Task<Void, Never>?>(nil)

    init(_ stream: VideoStream, _ inbox: FrameInbox) {
        self.inbox = inbox
        do throws(SwanError) {
            try startThread("swan.stream") { [outbox, failure] in
                Self.run(stream, inbox, outbox, failure)
            }
        } catch {
            failure.note(error)
            outbox.close()
        }
    }

    /// Starts the task that puts the elements of `source` into the inbox.
    func feed<Source: AsyncSequence & Sendable>(
        _ source: Source,
        _ timed: @escaping @Sendable (Source.Element) -> TimedFrame
    ) {
        let task = Task { [inbox, failure] in
            do {
                for try await frame in source {
                    guard await inbox.send(timed(frame)) else { break }
                }
            } catch {
                failure.note(error)
            }
            inbox.close()
        }
        feeder.withLock { $0 = task }
    }

    deinit {
        feeder.withLock { $0?.cancel() }
        inbox.close(dropping: true)
        outbox.close(dropping: true)
    }

    func next() async throws -> StreamedChunk? {
        if let chunk = await outbox.receive() { return chunk }
        if let error = failure.error { throw error }
        return nil
    }

    private static func run(
        _ stream: VideoStream,
        _ inbox: FrameInbox,
        _ outbox: BoundedQueue<StreamedChunk>,
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
            try stream.run(source) { outbox.put($0) }
        } catch {
            failure.note(error)
        }
        outbox.close()
    }
}
