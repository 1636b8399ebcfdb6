import Foundation
import NIOCore
import SwanHTTP
import SwanSystem

/// Reads the messages of a client of the demo protocol and passes them to its user.
struct DemoConnection: Sendable {
    let user: DemoUser
    let connection: WebSocketConnection
    /// The time after which a silent client is disconnected; nil for never.
    let timeout: Duration?

    /// The time until a client that has no frame yet is asked again.
    private static let retryInterval: Duration = .milliseconds(30)

    /// Serves the client until either side ends.
    func run() async throws {
        do {
            for status in [DemoStatus.connected, .wait, .sendFrame] { try await send(status) }
            try await read()
        } catch let problem as DemoUser.Problem {
            let message =
                switch problem {
                case .full: "Server is full"
                case .failed(let message): message
                }
            try await send(.error(message))
        } catch let error as WebSocketClose where error.code == 1008 {
            try await send(.error(error.reason))
            throw error
        }
    }

    private func read() async throws {
        var messages = connection.messages.makeAsyncIterator()
        while let control = try await control(&messages) {
            switch control.status {
            case .nextFrame:
                guard try await readFrame(control, &messages) else { return }
            case .noFrame:
                try await Task.sleep(for: Self.retryInterval)
                try await send(.sendFrame)
            case .pause: await user.pause()
            case .resume: try await user.resume()
            case .uploadDone:
                await user.completeUpload()
                try await send(.uploadReceived)
            case nil: break
            }
        }
    }

    /// Reads what follows `next_frame`; returns whether the connection goes on.
    private func readFrame(
        _ control: DemoControl,
        _ messages: inout WebSocketMessages.Iterator
    ) async throws -> Bool {
        guard let text = try await text(&messages) else { return false }
        let parameters: DemoParameters = try decoded(text, "the parameters")
        guard await user.expectsPicture(parameters) else {
            try await user.use(parameters)
            try await send(.wait)
            return true
        }
        guard let message = await messages.next() else { return false }
        guard case .binary(let buffer) = message else {
            throw WebSocketClose(1008, "A picture must follow the parameters.")
        }
        guard buffer.readableBytes > 0 else {
            try await send(.sendFrame)
            return true
        }
        let picture = Array(buffer.readableBytesView)
        try await user.take(parameters, picture, milliseconds: control.timestamp)
        return true
    }

    /// The next control message; nil at the end of the connection, or if the client is silent for too long.
    private func control(
        _ messages: inout WebSocketMessages.Iterator
    ) async throws -> DemoControl? {
        let timer = timeout.map { timeout in
            Task { [connection] in
                try await Task.sleep(for: timeout)
                try await connection.send(DemoStatus.timeout.text)
                connection.close(WebSocketClose(1000, "The client was silent."))
            }
        }
        defer { timer?.cancel() }
        return try await text(&messages).map { try decoded($0, "a message") }
    }

    private func text(_ messages: inout WebSocketMessages.Iterator) async throws -> String? {
        switch await messages.next() {
        case .text(let text): return text
        case .binary:
            throw WebSocketClose(1008, "A picture must follow next_frame and its parameters.")
        case nil: return nil
        }
    }

    private func decoded<Value: Decodable>(_ text: String, _ what: String) throws -> Value {
        do {
            return try JSONDecoder().decode(Value.self, from: Data(text.utf8))
        } catch let error as DecodingError {
            throw WebSocketClose(1008, "\(what): \(MessageError(error).message)")
        }
    }

    private func send(_ status: DemoStatus) async throws { try await connection.send(status.text) }
}
