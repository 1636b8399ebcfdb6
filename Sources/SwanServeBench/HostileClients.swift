import NIOCore
import NIOPosix
import NIOWebSocket
import SwanServer
import Synchronization

/// Clients that try to be in the way of others: each connects again when the server has closed its connection.
final class HostileClients: Sendable {
    /// What a client does.
    enum Kind: CaseIterable {
        /// Sends the headers of a request a line at a time, without end.
        case slow
        /// Sends random bytes.
        case garbage
        /// Asks for the page many times over and reads nothing.
        case deaf
        /// Sends pings and wrong messages over a WebSocket, without starting a session.
        case flood
        /// Starts a session and sends frames that are no pictures.
        case damaged
        /// Starts a session, sends frames and reads none.
        case unread
        /// Starts a session and sends good frames ten times too fast.
        case hasty

        /// The number of clients.
        var count: Int {
            switch self {
            case .slow: 64
            case .garbage: 4
            case .deaf: 4
            case .flood, .unread: 2
            case .damaged, .hasty: 1
            }
        }

        /// The time between the actions of a client.
        var interval: TimeAmount {
            switch self {
            case .slow, .garbage, .deaf: .milliseconds(250)
            case .flood: .milliseconds(2)
            case .damaged: .milliseconds(10)
            case .unread: .milliseconds(125)
            case .hasty: .milliseconds(50)
            }
        }

        /// The message that starts a session; nil for clients that start none. Frames that nobody reads are large.
        var start: String? {
            switch self {
            case .slow, .garbage, .deaf, .flood: nil
            case .damaged: #"{"type": "start", "width": 64, "height": 64, "fps": 1}"#
            case .unread:
                #"{"type": "start", "width": 64, "height": 64, "fps": 8, "output": "png"}"#
            case .hasty: #"{"type": "start", "width": 64, "height": 64, "fps": 2}"#
            }
        }
    }

    private let port: Int
    private let loop: any EventLoop
    private let pictures: [[UInt8]]
    private let isRunning = Mutex(true)
    private let counts = Mutex((connections: 0, actions: 0))

    /// Starts all clients.
    init(port: Int, on loop: any EventLoop) throws {
        self.port = port
        self.loop = loop
        pictures = try TestPictures.jpeg(width: 64, height: 64, count: 4)
        for kind in Kind.allCases {
            for _ in 0..<kind.count { connect(kind) }
        }
    }

    /// What the clients have done.
    var summary: String {
        let counts = counts.withLock { $0 }
        return "hostile clients: \(counts.connections) connections, \(counts.actions) messages"
    }

    /// Ends all clients at their next action.
    func stop() { isRunning.withLock { $0 = false } }

    // MARK: - Connections

    private func connect(_ kind: Kind) {
        guard isRunning.withLock({ $0 }) else { return }
        counts.withLock { $0.connections += 1 }
        switch kind {
        case .slow, .garbage, .deaf: connectRaw(kind)
        case .flood, .damaged, .unread, .hasty: connectSocket(kind)
        }
    }

    private func connectAgain(_ kind: Kind) {
        loop.scheduleTask(in: .milliseconds(250)) { [self] in connect(kind) }
    }

    private func connectRaw(_ kind: Kind) {
        ClientBootstrap(group: loop).connectTimeout(.seconds(5))
            .channelOption(.autoRead, value: kind != .deaf)
            .connect(host: "127.0.0.1", port: port)
            .whenComplete { [self] result in
                guard case .success(let channel) = result else { return connectAgain(kind) }
                channel.closeFuture.whenComplete { _ in self.connectAgain(kind) }
                if kind == .slow { channel.send("GET / HTTP/1.1\r\nHost: localhost\r\n") }
                actRaw(kind, channel)
            }
    }

    private func actRaw(_ kind: Kind, _ channel: any Channel) {
        loop.scheduleTask(in: kind.interval) { [self] in
            guard isRunning.withLock({ $0 }) else { return channel.reset() }
            guard channel.isActive else { return }
            counts.withLock { $0.actions += 1 }
            switch kind {
            case .slow: channel.send("X-Slow: 1\r\n")
            case .deaf where channel.isWritable:
                channel.send(
                    String(repeating: "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", count: 20)
                )
            case .garbage:
                let bytes = (0..<1_024).map { _ in UInt8.random(in: 0...255) }
                channel.writeAndFlush(ByteBuffer(bytes: bytes), promise: nil)
            default: break
            }
            actRaw(kind, channel)
        }
    }

    // MARK: - WebSockets

    private func connectSocket(_ kind: Kind) {
        let isOpen = OpenFlag()
        WebSocketClient.connect(port: port, path: "/v1/realtime", on: loop) { [self] message in
            guard case .closed = message else { return }
            isOpen.close()
            connectAgain(kind)
        }.whenComplete { [self] result in
            guard case .success(let socket) = result else { return connectAgain(kind) }
            if let start = kind.start { socket.send(start) }
            if kind == .unread { socket.setReading(false) }
            actSocket(kind, socket, isOpen, number: 0)
        }
    }

    private func actSocket(
        _ kind: Kind,
        _ socket: WebSocketClient,
        _ isOpen: OpenFlag,
        number: UInt32
    ) {
        loop.scheduleTask(in: kind.interval) { [self] in
            guard isRunning.withLock({ $0 }) else { return socket.reset() }
            guard isOpen.value else { return }
            counts.withLock { $0.actions += 1 }
            if kind == .flood {
                socket.send(.ping, ByteBuffer(string: "flood"))
                socket.send(#"{"type": "ping", "time": \#(number)}"#)
            } else {
                socket.send(frame(number, of: kind))
            }
            actSocket(kind, socket, isOpen, number: number + 1)
        }
    }

    private func frame(_ number: UInt32, of kind: Kind) -> [UInt8] {
        let header = FrameHeader(.jpeg, sequence: number, captureTime: 0, width: 64, height: 64)
        guard kind != .damaged else {
            return header.bytes + [UInt8](repeating: 0xFF, count: 4_096)
        }
        return header.bytes + pictures[Int(number) % pictures.count]
    }
}

/// Whether a connection is open.
private final class OpenFlag: Sendable {
    private let flag = Mutex(true)

    var value: Bool { flag.withLock { $0 } }

    func close() { flag.withLock { $0 = false } }
}

extension Channel {
    fileprivate func send(_ text: String) {
        writeAndFlush(ByteBuffer(string: text), promise: nil)
    }
}
