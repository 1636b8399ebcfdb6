import Foundation
import NIOCore
import SwanServer
import SwanSystem

/// A client of `/v1/realtime` that sends pictures and records when what comes back.
final class RealtimeClient: @unchecked Sendable {
    /// What a client asks of its session.
    struct Request: Encodable {
        var type = "start"
        var prompt = "pencil sketch"
        var width = 128, height = 128
        var fps = 8.0
        var event: UInt32 = 1
        var presentation = "newest"
    }

    /// A frame that came back.
    struct Output {
        let header: FrameHeader
        let time: ContinuousClock.Instant
        /// The seconds since its input frame was sent.
        let latency: Double
    }

    /// A text message of the server; keys that a message does not have are nil.
    struct Note: Decodable {
        struct Dropped: Decodable {
            let inbox, outbox: Int
            let damaged: Int?
            var all: Int { inbox + outbox + (damaged ?? 0) }
        }
        struct Stages: Decodable { let encode, denoise, vaeDecode: Double? }

        let type: String
        let session, message: String?
        let chunkFrames, credit, chunk: Int?
        let event: UInt32?
        let dropped: Dropped?
        let stagesMs: Stages?
    }

    private let loop: any EventLoop
    private let pictures: [[UInt8]]
    private let size: (width: Int, height: Int)

    // Everything below is protected by `condition`.
    private let condition = NSCondition()
    private var socket: WebSocketClient?
    private var sequence: UInt32 = 0
    private var sent: [UInt32: ContinuousClock.Instant] = [:]
    private var inFlightTarget = 0
    private var isPlaying = false
    private var isClosed = false
    private var failure: String?
    private var readiness: Note?
    private var record: [Output] = []
    private var lastStats: Note?
    private var withheldCount = 0
    /// Of all frames, those that came back and those that did not although later ones did.
    private var returnedCount = 0, lostCount = 0
    private var lostAtStart = 0
    /// The frames that the server has and will return, as far as is known: its own count of dropped frames is newer
    /// than the gaps in what came back, or older.
    private var inFlight: Int {
        Int(sequence) - returnedCount - max(lostCount, lastStats?.dropped?.all ?? 0)
    }

    /// Connects and starts a session.
    ///
    /// - Parameter pictures: JPEG pictures of the requested size, which are sent over and over.
    /// - Throws: If the server refuses the connection or the session.
    init(
        port: Int,
        _ request: Request,
        pictures: [[UInt8]],
        on loop: any EventLoop
    ) throws {
        self.loop = loop
        self.pictures = pictures
        size = (request.width, request.height)
        let socket = try WebSocketClient.connect(
            port: port,
            path: "/v1/realtime?width=\(request.width)&height=\(request.height)&fps=\(request.fps)",
            on: loop
        ) { [weak self] in self?.take($0) }.wait()
        condition.withLock { self.socket = socket }
        socket.send(String(decoding: try JSONEncoder().encode(request), as: UTF8.self))
        try wait(for: "the session", seconds: 30) { $0.readiness != nil }
    }

    // MARK: - What was measured

    var outputs: [Output] { condition.withLock { record } }
    /// The frames that could not be sent for lack of credit, and those that the server dropped.
    var dropped: Int { condition.withLock { withheldCount + lostCount - lostAtStart } }
    /// The server's last statistics.
    var stats: Note? { condition.withLock { lastStats } }
    /// The number of frames of a chunk.
    var chunkFrames: Int { condition.withLock { readiness?.chunkFrames ?? 4 } }
    /// The number of the frame that is sent next.
    var nextSequence: UInt32 { condition.withLock { sequence } }

    /// Forgets what was measured.
    func forget() {
        condition.withLock {
            record = []
            (withheldCount, lostAtStart) = (0, lostCount)
        }
    }

    /// Waits until `count` frames have come back since the last `forget`.
    func waitForFrames(_ count: Int, seconds: Double = 30) throws {
        try wait(for: "\(count) frames", seconds: seconds) { $0.record.count >= count }
    }

    /// Waits for a frame that the update with this number, or a later one, has shaped.
    func waitForEffect(of event: UInt32, seconds: Double = 30) throws -> Output {
        let first = { (client: RealtimeClient) in
            client.record.first { $0.header.event >= event }
        }
        try wait(for: "a frame of update \(event)", seconds: seconds) { first($0) != nil }
        guard let output = condition.withLock({ first(self) }) else {
            throw SwanError(.libraryFailed, "no frame of update \(event)")
        }
        return output
    }

    /// Waits for a condition that the server's messages make true; it is called with the lock held.
    private func wait(
        for what: String,
        seconds: Double,
        _ holds: (RealtimeClient) -> Bool
    ) throws(SwanError) {
        let deadline = Date.now.addingTimeInterval(seconds)
        condition.lock()
        defer { condition.unlock() }
        while !holds(self) {
            if let failure { throw SwanError(.libraryFailed, "the server: \(failure)") }
            guard !isClosed else {
                throw SwanError(
                    .libraryFailed,
                    "waiting for \(what): the server has closed the session"
                )
            }
            guard condition.wait(until: deadline) else {
                throw SwanError(
                    .libraryFailed,
                    "\(what): not within \(seconds) s; \(record.count) came back and \(inFlight) are in flight"
                )
            }
        }
    }

    // MARK: - Sending

    /// Sends a picture `framesPerSecond` times a second until `pause`, within the credit.
    func play(framesPerSecond: Double) {
        condition.withLock { isPlaying = true }
        step(0, from: .now(), interval: 1 / framesPerSecond)
    }

    private func step(_ number: Int, from start: NIODeadline, interval: Double) {
        let due = start + .nanoseconds(Int64(Double(number) * interval * 1e9))
        loop.scheduleTask(deadline: due) { [weak self] in
            guard let self, condition.withLock({ isPlaying && !isClosed }) else { return }
            sendFrame()
            step(number + 1, from: start, interval: interval)
        }
    }

    /// Keeps `count` frames in flight until `pause`.
    func fill(_ count: Int) {
        condition.withLock { inFlightTarget = count }
        loop.execute { [self] in refill() }
    }

    /// Sends no further frames.
    func pause() {
        condition.withLock { (isPlaying, inFlightTarget) = (false, 0) }
    }

    /// Sends a picture, if there is credit for it.
    func sendFrame() {
        let (socket, number): (WebSocketClient?, UInt32?) = condition.withLock {
            guard inFlight < readiness?.credit ?? 0 else {
                withheldCount += 1
                return (nil, nil)
            }
            defer { sequence += 1 }
            sent[sequence] = .now
            return (self.socket, sequence)
        }
        guard let socket, let number else { return }
        let header = FrameHeader(
            .jpeg,
            sequence: number,
            captureTime: 0,
            width: UInt16(size.width),
            height: UInt16(size.height)
        )
        socket.send(header.bytes + pictures[Int(number) % pictures.count])
    }

    /// Changes the prompt.
    func change(prompt: String, event: UInt32) {
        let text = #"{"type": "update", "prompt": "\#(prompt)", "event": \#(event)}"#
        condition.withLock { socket }?.send(text)
    }

    /// Ends the session as a client that has finished does.
    func stop() {
        pause()
        let socket = condition.withLock { self.socket }
        socket?.send(#"{"type": "stop"}"#)
    }

    /// Closes the connection without ending the session, as a closed page does.
    func close() {
        pause()
        condition.withLock { socket }?.close()
    }

    /// Drops the connection by a TCP reset.
    func reset() {
        pause()
        condition.withLock { socket }?.reset()
    }

    // MARK: - Receiving

    private func take(_ message: WebSocketClient.Message) {
        switch message {
        case .binary(let buffer): take(buffer)
        case .text(let text): take(text)
        case .closed:
            condition.withLock {
                isClosed = true
                condition.broadcast()
            }
        }
    }

    private func take(_ buffer: ByteBuffer) {
        guard let header = FrameHeader(buffer.readableBytesView) else { return }
        let now = ContinuousClock.now
        condition.withLock {
            // Frames come back in order, so the server has dropped all before this one.
            let lost = sent.keys.filter { $0 < header.sequence }
            for number in lost { sent[number] = nil }
            lostCount += lost.count
            if let start = sent.removeValue(forKey: header.sequence) {
                returnedCount += 1
                let latency = (now - start).seconds
                record.append(Output(header: header, time: now, latency: latency))
            }
            condition.broadcast()
        }
        refill()
    }

    /// Sends as many frames as are missing.
    private func refill() {
        let missing = condition.withLock { inFlightTarget - inFlight }
        for _ in 0..<max(0, missing) { sendFrame() }
    }

    private func take(_ text: String) {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let note: Note
        do {
            note = try decoder.decode(Note.self, from: Data(text.utf8))
        } catch {
            condition.withLock {
                failure = "a message that is not valid: \(text.printable(limit: 200))"
                condition.broadcast()
            }
            return
        }
        condition.withLock {
            switch note.type {
            case "ready": readiness = note
            case "stats": lastStats = note
            case "error": failure = note.message
            default: break
            }
            condition.broadcast()
        }
        refill()
    }
}
