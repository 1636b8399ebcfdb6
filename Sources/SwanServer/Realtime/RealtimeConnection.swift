import Logging
import NIOCore
import SwanCheckpoints
import SwanHTTP
import SwanPipelines
import SwanSystem
import SwanText

/// One WebSocket connection of `/v1/realtime`: starts or continues a session, passes frames and changes to it, and
/// sends what comes back.
struct RealtimeConnection: Sendable {
    let registry: SessionRegistry
    let connection: WebSocketConnection
    let log: Logger

    private var limits: ServerOptions.Limits { registry.limits }

    // MARK: - Starting

    /// Serves a new session.
    func run(_ reservation: SessionRegistry.Reservation) async throws {
        // The connection itself may take a while to close.
        defer { reservation.release() }
        var messages = connection.messages.makeAsyncIterator()
        guard let start = try await startMessage(&messages) else { return }
        let (session, issues): (LiveSession, [PromptIssue])
        do {
            (session, issues) = try await onThread { try registry.start(start, reservation) }
        } catch {
            let failure = MessageError(error)
            try await send(.failure(.init(failure)))
            // Try again later.
            if failure.fits != nil || failure.retryAfter != nil {
                throw WebSocketClose(1013, "There is no capacity for this session.")
            }
            throw WebSocketClose(1008, "The session could not be started.")
        }
        log.info("session started", metadata: ["sessions": "\(registry.count)"])
        try await serve(session, resumed: false, issues: issues, messages: messages)
    }

    /// Serves a session that lost its connection.
    func resume(_ session: LiveSession) async throws {
        let messages = connection.messages.makeAsyncIterator()
        try await serve(session, resumed: true, issues: [], messages: messages)
    }

    private func startMessage(
        _ messages: inout WebSocketMessages.Iterator
    ) async throws -> StartMessage? {
        let timer = Task { [connection, limits] in
            try await Task.sleep(for: limits.startTimeout)
            connection.close(WebSocketClose(4408, "The session was not started in time."))
        }
        defer { timer.cancel() }
        while let message = await messages.next() {
            do {
                guard case .text(let text) = message else {
                    throw MessageError(
                        "not_started",
                        "Send a start message before the first frame."
                    )
                }
                switch try ClientMessage(text) {
                case .start(let start): return start
                case .ping(let time): try await send(.pong(.init(time: time)))
                case .stop, .finish: return nil
                case .update, .keyFrame:
                    throw MessageError("not_started", "Send a start message before any other.")
                }
            } catch let error as MessageError {
                try await send(.failure(.init(error)))
                throw WebSocketClose(1008, "The first message is not a valid start message.")
            }
        }
        return nil
    }

    private func send(_ message: ServerMessage) async throws {
        try await connection.send(message.text)
    }

    // MARK: - Serving

    private func serve(
        _ session: LiveSession,
        resumed: Bool,
        issues: [PromptIssue],
        messages: WebSocketMessages.Iterator
    ) async throws {
        let chunk = registry.host.framesPerChunk
        // Credit bounds what a session that loses no frames can have here.
        let isLossless = session.presentation == .lossless
        let outbox = Outbox(frameCapacity: isLossless ? .max : 3 * chunk)
        outbox.put(.ready(ready(session, resumed: resumed, issues: issues)))
        session.attach(outbox)
        let writer = Task {
            await write(outbox, session)
            // The client left, or the server stops, which has a code of its own.
            if Task.isCancelled { return }
            // The stream has ended, another connection continues it, or the client does not read.
            connection.close(WebSocketClose(1000, "The session has ended."))
        }
        let meter = Task { await measure(session, outbox) }
        var messages = messages
        let wantsToStop = await read(session, &messages)
        writer.cancel()
        meter.cancel()
        let isCurrent = session.isAttached(outbox)
        session.detach(outbox)
        guard isCurrent else { return }
        if wantsToStop { session.end() } else { keep(session) }
    }

    private func ready(
        _ session: LiveSession,
        resumed: Bool,
        issues: [PromptIssue]
    ) -> ServerMessage.Ready {
        let model = registry.host.model
        let options = session.options
        let chunk = registry.host.framesPerChunk
        return ServerMessage.Ready(
            session: session.id,
            resumed: resumed,
            width: options?.outputWidth ?? options?.width ?? 0,
            height: options?.outputHeight ?? options?.height ?? 0,
            chunkFrames: chunk,
            firstChunkFrames: model.firstChunkFrames,
            fps: session.framesPerSecond,
            credit: session.credit,
            steps: options?.configuration.steps.count ?? 0,
            maxSteps: model.configuration.steps.count,
            model: model.name,
            styles: model.styles?.known.map(\.name) ?? [],
            issues: issues.map(\.description)
        )
    }

    /// Takes messages until the connection ends; returns whether the client asked to stop.
    private func read(
        _ session: LiveSession,
        _ messages: inout WebSocketMessages.Iterator
    ) async -> Bool {
        var errors = 0
        while let message = await messages.next() {
            do {
                switch message {
                case .binary(let buffer):
                    await session.waitForRoom()
                    try take(buffer, session)
                case .text(let text):
                    if try take(text, session) { return true }
                }
            } catch {
                errors += 1
                session.send(.failure(.init(error)))
                guard errors < limits.errors else {
                    connection.close(WebSocketClose(1008, "Too many wrong messages."))
                    return true
                }
            }
        }
        return false
    }

    private func take(
        _ buffer: ByteBuffer,
        _ session: LiveSession
    ) throws(MessageError) {
        let bytes = Array(buffer.readableBytesView)
        guard let header = FrameHeader(bytes) else {
            throw MessageError(
                "invalid_frame",
                "A binary message must be a frame: a header of 32 bytes (version 1, kind 1) and a picture."
            )
        }
        session.put(header, Array(bytes.dropFirst(FrameHeader.byteCount)))
    }

    /// Takes a text message; returns whether the client asked to stop.
    private func take(_ text: String, _ session: LiveSession) throws(MessageError) -> Bool {
        switch try ClientMessage(text) {
        case .start:
            throw MessageError("already_started", "The session has been started; send an update.")
        case .update(let change, let isPaused):
            try registry.check(change, of: session)
            session.change(change, isPaused: isPaused)
        case .ping(let time): session.send(.pong(.init(time: time)))
        case .finish: session.finish()
        case .keyFrame: session.requestKeyFrame()
        case .stop: return true
        }
        return false
    }

    /// Sends what is in the outbox until it is closed; gives up on a client that does not read.
    private func write(_ outbox: Outbox, _ session: LiveSession) async {
        var pacer = FramePacer(
            framesPerSecond: session.framesPerSecond,
            framesPerChunk: registry.host.framesPerChunk
        )
        while let item = await outbox.next() {
            if case .frame = item {
                session.settle()
                if session.presentation == .paced {
                    let time = pacer.next(now: .now, waiting: outbox.frameCount)
                    try? await Task.sleep(until: time, clock: .continuous)
                }
            }
            let stall = Task { [connection, limits] in
                try await Task.sleep(for: limits.stallTimeout)
                connection.close(WebSocketClose(1008, "The client reads too slowly."))
            }
            defer { stall.cancel() }
            do {
                switch item {
                case .message(let message): try await send(message)
                case .frame(let frame):
                    try await connection.send(ByteBuffer(bytes: frame.message()))
                }
            } catch {
                // The connection is lost.
                return
            }
        }
    }

    /// Reports what was measured, once a second.
    private func measure(_ session: LiveSession, _ outbox: Outbox) async {
        while !Task.isCancelled {
            do {
                try await Task.sleep(for: .seconds(1))
            } catch {
                return
            }
            outbox.put(.stats(session.stats(sessions: registry.count)))
        }
    }

    /// Ends a session unless its client comes back in time.
    private func keep(_ session: LiveSession) {
        let clients = session.clientCount
        Task { [limits] in
            try? await Task.sleep(for: limits.reconnectTimeout)
            if session.clientCount == clients { session.end() }
        }
    }
}

/// Runs work that blocks on a thread of its own.
func onThread<Result: Sendable>(
    _ work: @escaping @Sendable () throws -> Result
) async throws -> Result {
    try await withCheckedThrowingContinuation { continuation in
        do throws(SwanError) {
            try startThread("swan.request", stackBytes: 8 << 20) {
                continuation.resume(with: Swift.Result { try work() })
            }
        } catch {
            continuation.resume(throwing: error)
        }
    }
}
