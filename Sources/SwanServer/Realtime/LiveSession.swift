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
    let output: FrameHeader.Codec
    let quality: Int
    let framesPerSecond: Double
    private let metrics: SessionMetrics

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

    init(
        _ id: String,
        _ start: StartMessage,
        framesPerSecond: Double,
        metrics: SessionMetrics
    ) {
        self.id = id
        self.metrics = metrics
        self.framesPerSecond = framesPerSecond
        output = start.output
        quality = start.quality
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
    }

    var options: StreamOptions? { lock.withLock { stream?.options } }

    // MARK: - Input

    /// Adds a frame of a client; ignored while the session is paused.
    func put(_ header: FrameHeader, _ picture: [UInt8], maxPixels: Int) {
        let (stream, isPaused) = lock.withLock { (self.stream, paused) }
        guard !isPaused else { return }
        metrics.received()
        stream?.put(
            SharedFrame(sequence: header.sequence, captureTime: header.captureTime) {
                try picture.withUnsafeBytes { bytes in
                    Result { () throws(SwanError) in
                        switch header.codec {
                        case .jpeg: try JPEG.decode(bytes, maxPixels: maxPixels)
                        case .png: try decodeImage(bytes, name: "the picture", maxPixels: maxPixels)
                        }
                    }
                }.get()
            }
        )
    }

    func change(_ change: StreamChange, isPaused: Bool?) {
        let stream = lock.withLock {
            paused = isPaused ?? paused
            return self.stream
        }
        metrics.changed(change.event)
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
            metrics.dropped(dropped)
        }
    }

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

    /// The statistics since the last call.
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
            lock.withLock { meter.damaged += 1 }
        case .ended(let error):
            if let error {
                let message = MessageError(error).message
                send(.failure(.init(MessageError("stream_failed", message))))
            }
            metrics.ended(error == nil ? "stopped" : "failed")
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
        let outboxes = lock.withLock { [main].compactMap { $0 } + watchers.values }
        let start = ContinuousClock.now
        var frames: [OutputFrame] = []
        // Nobody may be watching at the moment.
        for frame in chunk.frames where !outboxes.isEmpty {
            do {
                frames.append(try encoded(frame, chunk))
            } catch {
                send(.failure(.init(MessageError(error))))
            }
        }
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        let chunkSeconds = lock.withLock {
            let chunkSeconds = stream?.chunkSeconds ?? 1
            meter.add(chunk, compress: seconds, chunkSeconds: chunkSeconds)
            return chunkSeconds
        }
        metrics.add(chunk, compress: seconds, chunkSeconds: chunkSeconds)
        for outbox in outboxes { outbox.put(frames) }
    }

    private func encoded(
        _ frame: RestyledFrame,
        _ chunk: RestyledChunk
    ) throws(SwanError) -> OutputFrame {
        let picture =
            switch output {
            case .jpeg: try JPEG.encode(frame.frame, quality: quality)
            case .png: try frame.frame.png()
            }
        var header = FrameHeader(
            output,
            sequence: frame.sequence,
            captureTime: frame.captureTime,
            width: UInt16(clamping: frame.frame.width),
            height: UInt16(clamping: frame.frame.height)
        )
        (header.event, header.chunk) = (chunk.event, UInt32(clamping: chunk.index))
        return OutputFrame(header: header, picture: picture, arrival: frame.arrival)
    }
}
