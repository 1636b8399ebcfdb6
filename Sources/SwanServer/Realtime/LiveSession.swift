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
    private let encoder: OutputEncoder
    private let input: FrameInput

    // Everything below is protected by `lock`.
    private let lock = NSLock()
    private var stream: SharedStream?
    private var main: Outbox?
    private var clients = 0
    /// Clients that only watch.
    private var watchers: [Int: Outbox] = [:]
    private var nextWatcher = 0
    private var meter = SessionMeter()
    private var paused = false
    private var outboxDropped = 0
    private var whenEnded: (@Sendable () -> Void)?

    init(_ id: String, _ start: StartMessage, framesPerSecond: Double, maxPixels: Int) {
        self.id = id
        self.framesPerSecond = framesPerSecond
        input = FrameInput(maxPixels: maxPixels)
        encoder = OutputEncoder(start, framesPerSecond: framesPerSecond)
    }

    /// Connects the session with its stream.
    ///
    /// - Parameter whenEnded: Called once, when the stream has ended.
    func begin(_ stream: SharedStream, whenEnded: @escaping @Sendable () -> Void) {
        lock.withLock {
            self.stream = stream
            self.whenEnded = whenEnded
        }
    }

    var options: StreamOptions? { lock.withLock { stream?.options } }

    // MARK: - Input

    /// Adds a frame of a client; ignored while the session is paused.
    func put(_ header: FrameHeader, _ bytes: [UInt8]) {
        let (stream, isPaused) = lock.withLock { (self.stream, paused) }
        guard !isPaused else {
            input.skip(header.codec)
            return
        }
        let frame = SharedFrame(
            sequence: header.sequence,
            captureTime: header.captureTime,
            decode: input.decoder(header.codec, bytes) { [weak self] in self?.send(.keyFrame) }
        )
        stream?.put(frame)
    }

    /// Makes the next frame of H.264 a key frame.
    func requestKeyFrame() { encoder.requestKeyFrame() }

    func change(_ change: StreamChange, isPaused: Bool?) {
        let stream = lock.withLock {
            paused = isPaused ?? paused
            return self.stream
        }
        stream?.change(change)
    }

    /// Ends the stream.
    func end() { lock.withLock { stream }?.leave() }

    // MARK: - Clients

    /// Makes `outbox` the one that gets messages; the previous client's ends.
    func attach(_ outbox: Outbox) {
        let old = lock.withLock {
            clients += 1
            defer { main = outbox }
            return main
        }
        old?.close()
    }

    /// Whether `outbox` is still the session's.
    func isAttached(_ outbox: Outbox) -> Bool { lock.withLock { main === outbox } }

    /// The number of clients that have had the session.
    var clientCount: Int { lock.withLock { clients } }

    func detach(_ outbox: Outbox) {
        lock.withLock {
            guard main === outbox else { return }
            outboxDropped += outbox.droppedFrames
            main = nil
        }
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

    /// The statistics since the last call.
    func stats(sessions: Int) -> SessionStats {
        lock.withLock {
            let counts = stream?.counts
            return meter.report(
                received: counts?.received ?? 0,
                dropped: counts?.dropped ?? 0,
                outboxDropped: outboxDropped + (main?.droppedFrames ?? 0),
                sessions: sessions
            )
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
            lock.withLock { meter.damaged += 1 }
        case .ended(let error):
            if let error {
                let message = MessageError(error).message
                send(.failure(.init(MessageError("stream_failed", message))))
            }
            finish(error == nil ? "stopped" : "failed")
        }
    }

    /// Sends a message to the client, if one is connected.
    func send(_ message: ServerMessage) { lock.withLock { main }?.put(message) }

    private func finish(_ reason: String) {
        let (outboxes, action) = lock.withLock {
            defer {
                (main, watchers, stream, whenEnded) = (nil, [:], nil, nil)
            }
            main?.put(.ended(.init(reason: reason)))
            return ([main].compactMap { $0 } + watchers.values, whenEnded)
        }
        for outbox in outboxes { outbox.close() }
        action?()
    }

    private func send(_ chunk: RestyledChunk) {
        let (client, watchers) = lock.withLock { (main, Array(self.watchers.values)) }
        let start = ContinuousClock.now
        do throws(SwanError) {
            try encoder.send(chunk, to: client, watchers)
        } catch {
            send(.failure(.init(MessageError(error))))
        }
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        lock.withLock {
            meter.add(chunk, compress: seconds, chunkSeconds: stream?.chunkSeconds ?? 1)
        }
    }
}
