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

    init(_ id: String, _ start: StartMessage, framesPerSecond: Double) {
        self.id = id
        self.framesPerSecond = framesPerSecond
        output = start.output
        quality = start.quality
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
    func put(_ header: FrameHeader, _ picture: [UInt8], maxPixels: Int) {
        _ = put(SharedFrame(header, picture, maxPixels: maxPixels))
    }

    /// Adds a frame, which is ignored while the session is paused; returns whether the session goes on.
    func put(_ frame: SharedFrame) -> Bool {
        let (stream, isPaused) = lock.withLock { (self.stream, paused) }
        guard let stream else { return false }
        return isPaused || stream.put(frame)
    }

    /// Adds a frame unless another one would be dropped for it.
    func offer(_ frame: SharedFrame) -> SharedStream.Offer {
        lock.withLock { stream }?.offer(frame) ?? .ended
    }

    /// The number of frames that came in, were not dropped and have not come out.
    var framesUnderway: Int {
        guard let counts = lock.withLock({ stream })?.counts else { return 0 }
        return max(0, counts.received - counts.dropped - counts.returned)
    }

    /// Restyles the frames that are left, and ends the session.
    func drain() { lock.withLock { stream }?.finish() }

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
        lock.withLock {
            meter.add(chunk, compress: seconds, chunkSeconds: stream?.chunkSeconds ?? 1)
        }
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
