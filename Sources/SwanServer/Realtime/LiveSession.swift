import Foundation
import SwanCheckpoints
import SwanMedia
import SwanPipelines
import SwanSystem
import SwanText

/// A session: a stream, and the clients that receive its frames.
///
/// It outlives a lost connection for a while, so that its client can continue it.
final class LiveSession: @unchecked Sendable {
    /// The unguessable name by which a client continues the session.
    let id: String
    let framesPerSecond: Double
    let presentation: Presentation
    /// The number of frames that may be in flight: received, and neither sent back nor dropped.
    let credit: Int
    private let encoder: OutputEncoder
    private let input: FrameInput
    private let metrics: SessionMetrics

    // Everything below is protected by `lock`.
    private let lock = NSLock()
    private var stream: SharedStream?
    private var main: Outbox?
    private var clients = 0
    private var detached: ContinuousClock.Instant?
    /// Clients that only watch.
    private var watchers: [Int: Outbox] = [:]
    private var nextWatcher = 0
    private var meter: SessionMeter
    private var paused = false
    private var isFinishing = false
    private var outboxDropped = 0
    /// The number of frames that were sent or given up.
    private var settled = 0
    /// Frames that no client was there to receive, of a session that loses none.
    private var backlog: [OutputFrame] = []
    private var whenEnded: (@Sendable () -> Void)?

    init(
        _ id: String,
        _ start: StartMessage,
        framesPerSecond: Double,
        credit: Int,
        maxPixels: Int,
        metrics: SessionMetrics
    ) {
        self.id = id
        self.metrics = metrics
        self.framesPerSecond = framesPerSecond
        self.credit = credit
        presentation = start.presentation
        meter = SessionMeter(framesPerSecond: framesPerSecond)
        input = FrameInput(maxPixels: maxPixels)
        encoder = OutputEncoder(start, framesPerSecond: framesPerSecond)
    }

    /// Connects the session with its stream.
    ///
    /// - Parameter whenEnded: Called once, when the stream has ended.
    func begin(_ stream: SharedStream, whenEnded: @escaping @Sendable () -> Void) {
        metrics.begun()
        lock.withLock {
            self.stream = stream
            self.whenEnded = whenEnded
        }
        guard stream.generates else { return }
        lock.withLock { meter.begin() }
        Task { [weak self] in
            var due = ContinuousClock.now
            while let self, self.requestChunk() {
                due = max(due + .seconds(stream.chunkSeconds), .now)
                try await Task.sleep(until: due, clock: .continuous)
            }
        }
    }

    /// Asks for the next chunk of a session without an input, unless it has to wait; returns whether the
    /// session goes on.
    private func requestChunk() -> Bool {
        let (stream, isPaused) = lock.withLock { (self.stream, paused || isFinishing) }
        if !isPaused, hasRoom { stream?.generate() }
        return stream != nil
    }

    var options: StreamOptions? { lock.withLock { stream }?.currentOptions }

    // MARK: - Input

    /// Adds a frame of a client; ignored while the session is paused.
    func put(_ header: FrameHeader, _ bytes: [UInt8]) {
        let (stream, isPaused) = lock.withLock {
            if !paused { meter.begin() }
            return (self.stream, paused)
        }
        guard !isPaused, let stream, !stream.generates else {
            input.skip(header.codec)
            return
        }
        metrics.received()
        let frame = SharedFrame(
            sequence: header.sequence,
            captureTime: header.captureTime,
            decode: input.decoder(header.codec, bytes) { [weak self] in self?.send(.keyFrame) }
        )
        stream.put(frame)
    }

    /// Adds a frame, which is ignored while the session is paused; returns whether the session goes on.
    func put(_ frame: SharedFrame) -> Bool {
        let (stream, isPaused) = lock.withLock {
            if !paused { meter.begin() }
            return (self.stream, paused)
        }
        guard let stream else { return false }
        guard !isPaused else { return true }
        metrics.received()
        return stream.put(frame)
    }

    /// Adds a frame unless another one would be dropped for it.
    func offer(_ frame: SharedFrame) -> SharedStream.Offer {
        let stream = lock.withLock {
            meter.begin()
            return self.stream
        }
        let offer = stream?.offer(frame) ?? .ended
        if case .taken = offer { metrics.received() }
        return offer
    }

    /// The number of frames that came in, were not dropped and have not come out.
    var framesUnderway: Int {
        guard let counts = lock.withLock({ stream })?.counts else { return 0 }
        return max(0, counts.received - counts.dropped - counts.returned)
    }

    /// Makes the next frame of H.264 a key frame.
    func requestKeyFrame() { encoder.requestKeyFrame() }

    func change(_ change: StreamChange, isPaused: Bool?) {
        let stream = lock.withLock {
            let wasPaused = paused
            paused = isPaused ?? paused
            if paused { meter.pause() }
            if wasPaused, !paused {
                meter.resume()
                metrics.resumed()
            }
            return self.stream
        }
        metrics.changed(change.event)
        stream?.change(change)
    }

    /// Whether a session that loses no frames can take more, without exceeding its credit.
    private var hasRoom: Bool {
        guard presentation == .lossless else { return true }
        let (stream, settled) = lock.withLock { (self.stream, self.settled) }
        guard let counts = stream?.counts else { return true }
        return counts.received - counts.dropped - settled < credit
    }

    /// Waits until the session can take another frame: a client that ignores its credit is slowed down.
    func waitForRoom() async {
        while !hasRoom {
            do {
                try await Task.sleep(for: .milliseconds(4))
            } catch {
                return
            }
        }
    }

    /// Restyles the frames that are left, then ends the stream.
    func finish() {
        let stream = lock.withLock {
            isFinishing = true
            return self.stream
        }
        stream?.finish()
    }

    /// Ends the stream.
    func end() { lock.withLock { stream }?.leave() }

    // MARK: - Clients

    /// Makes `outbox` the one that gets messages; the previous client's ends.
    func attach(_ outbox: Outbox) {
        let old = lock.withLock {
            clients += 1
            outbox.put(backlog)
            backlog = []
            outboxDropped += main?.droppedFrames ?? 0
            defer { main = outbox }
            return main
        }
        old?.close()
    }

    /// Whether `outbox` is still the session's.
    func isAttached(_ outbox: Outbox) -> Bool { lock.withLock { main === outbox } }

    /// The number of clients that have had the session.
    var clientCount: Int { lock.withLock { clients } }

    /// Since when the session has waited for its client to come back; nil while it has one.
    var waitingSince: ContinuousClock.Instant? { lock.withLock { main == nil ? detached : nil } }

    func detach(_ outbox: Outbox) {
        lock.withLock {
            guard main === outbox else { return }
            outboxDropped += outbox.droppedFrames
            // Another decoder cannot go on with H.264 in the middle.
            if presentation == .lossless {
                backlog = outbox.takeFrames().filter(\.header.isKeyFrame)
            }
            (main, detached) = (nil, .now)
            metrics.dropped(dropped)
        }
    }

    /// Notes that a client took a frame.
    func settle() { lock.withLock { settled += 1 } }
    /// The frames that were dropped so far, by cause; the lock is held.
    private var dropped: SessionStats.Dropped {
        .init(
            inbox: stream?.counts.dropped ?? 0,
            outbox: outboxDropped + (main?.droppedFrames ?? 0),
            damaged: meter.damaged
        )
    }

    /// Adds a client that only watches.
    func watch(_ outbox: Outbox) -> Int {
        lock.withLock {
            nextWatcher += 1
            watchers[nextWatcher] = outbox
            return nextWatcher
        }
    }

    func unwatch(_ number: Int) { lock.withLock { watchers[number] = nil } }

    /// The statistics so far.
    func stats(sessions: Int) -> SessionStats {
        lock.withLock {
            let counts = stream?.counts
            let stats = meter.report(
                received: counts?.received ?? 0,
                dropped: counts?.dropped ?? 0,
                outboxDropped: outboxDropped + (main?.droppedFrames ?? 0),
                sessions: sessions
            )
            metrics.dropped(stats.dropped)
            return stats
        }
    }

    /// The numbers of frames that wait for the model, and for the client.
    var queued: (stream: Int, outbox: Int) {
        lock.withLock {
            let counts = stream.map(\.counts)
            let inside = counts.map { $0.received - $0.dropped - $0.returned } ?? 0
            return (max(0, inside), main?.frameCount ?? 0)
        }
    }

    // MARK: - Output

    /// Takes a report of the stream; called on the stream's threads.
    func take(_ report: SharedStreamReport) {
        switch report {
        case .chunk(let chunk): send(chunk)
        case .applied(let event, let chunk, let issues):
            let message = ServerMessage.Applied(
                event: event,
                chunk: chunk,
                issues: issues.map(\.description)
            )
            send(.applied(message))
        case .refused(let event, let error):
            send(.failure(.init(MessageError(error), event: event)))
        case .skipped:
            lock.withLock {
                meter.damaged += 1
                settled += 1
            }
        case .ended(let error):
            if let error { send(.failure(.init(MessageError(ending: error)))) }
            metrics.ended(error == nil ? "stopped" : "failed")
            finish(failed: error != nil)
        }
    }

    /// Sends a message to the client, if one is connected.
    func send(_ message: ServerMessage) { lock.withLock { main }?.put(message) }

    private func finish(failed: Bool) {
        let (outboxes, action, reason) = lock.withLock {
            metrics.dropped(dropped)
            defer {
                (main, watchers, stream, whenEnded) = (nil, [:], nil, nil)
            }
            let reason = failed ? "failed" : isFinishing ? "finished" : "stopped"
            return ([main].compactMap { $0 } + watchers.values, whenEnded, reason)
        }
        for outbox in outboxes { outbox.close(after: .ended(.init(reason: reason))) }
        action?()
    }

    private func send(_ chunk: RestyledChunk) {
        let (client, watchers, isKept) = lock.withLock {
            (main, Array(self.watchers.values), main == nil && presentation == .lossless)
        }
        let start = ContinuousClock.now
        var kept: [OutputFrame] = []
        do throws(SwanError) {
            kept = try encoder.send(chunk, to: client, watchers, keeps: isKept)
        } catch {
            for _ in chunk.frames { settle() }
            send(.failure(.init(MessageError(error))))
        }
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        let measures = lock.withLock {
            backlog += kept
            metrics.dropped(dropped)
            return meter.add(chunk, compress: seconds)
        }
        metrics.add(chunk, measures, compress: seconds)
    }
}
