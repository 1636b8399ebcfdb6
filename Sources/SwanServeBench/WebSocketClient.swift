import NIOCore
import NIOHTTP1
import NIOPosix
import NIOWebSocket
import SwanSystem

/// A WebSocket connection to a program on this machine.
final class WebSocketClient: Sendable {
    /// What a connection receives.
    enum Message: Sendable {
        case text(String)
        case binary(ByteBuffer)
        case closed
    }

    private let channel: any Channel

    private init(_ channel: any Channel) { self.channel = channel }

    /// Connects.
    ///
    /// - Parameter receive: Called on the event loop; `closed` is the last message.
    static func connect(
        port: Int,
        path: String,
        on loop: any EventLoop,
        receive: @escaping @Sendable (Message) -> Void
    ) -> EventLoopFuture<WebSocketClient> {
        let outcome = loop.makePromise(of: Bool.self)
        let bootstrap = ClientBootstrap(group: loop)
            .connectTimeout(.seconds(5))
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let upgrade = upgrade(port: port, path: path, receive)
                    try channel.pipeline.syncOperations.configureUpgradableHTTPClientPipeline(
                        configuration: .init(upgradeConfiguration: upgrade)
                    ).cascade(to: outcome)
                }
            }
        let connection = bootstrap.connect(host: "127.0.0.1", port: port)
        connection.whenFailure { outcome.fail($0) }
        let timeout = loop.scheduleTask(in: .seconds(10)) { outcome.fail(refusal(path)) }
        outcome.futureResult.whenComplete { _ in timeout.cancel() }
        return connection.and(outcome.futureResult).flatMapThrowing { channel, isUpgraded in
            guard isUpgraded else {
                channel.close(promise: nil)
                throw refusal(path)
            }
            return WebSocketClient(channel)
        }
    }

    private static func refusal(_ path: String) -> SwanError {
        SwanError(.libraryFailed, "\(path): the program refuses the WebSocket")
    }

    private static func upgrade(
        port: Int,
        path: String,
        _ receive: @escaping @Sendable (Message) -> Void
    ) -> NIOTypedHTTPClientUpgradeConfiguration<Bool> {
        let upgrader = NIOTypedWebSocketClientUpgrader<Bool>(
            maxFrameSize: 64 << 20,
            upgradePipelineHandler: { channel, _ in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandlers(
                        NIOWebSocketFrameAggregator(
                            minNonFinalFragmentSize: 0,
                            maxAccumulatedFrameCount: 1_024,
                            maxAccumulatedFrameSize: 64 << 20
                        ),
                        MessageHandler(receive)
                    )
                    return true
                }
            }
        )
        let headers = HTTPHeaders([("Host", "127.0.0.1:\(port)")])
        return NIOTypedHTTPClientUpgradeConfiguration(
            upgradeRequestHead: HTTPRequestHead(
                version: .http1_1,
                method: .GET,
                uri: path,
                headers: headers
            ),
            upgraders: [upgrader],
            notUpgradingCompletionHandler: { $0.eventLoop.makeSucceededFuture(false) }
        )
    }

    // MARK: - Sending

    /// Sends a text message.
    func send(_ text: String) { send(.text, ByteBuffer(string: text)) }

    /// Sends a binary message.
    func send(_ bytes: [UInt8]) { send(.binary, ByteBuffer(bytes: bytes)) }

    /// Sends a frame of any kind.
    func send(_ opcode: WebSocketOpcode, _ data: ByteBuffer = ByteBuffer()) {
        let frame = WebSocketFrame(fin: true, opcode: opcode, maskKey: .random(), data: data)
        channel.writeAndFlush(frame, promise: nil)
    }

    /// Closes the connection by a close frame.
    func close() {
        var code = ByteBuffer()
        code.write(webSocketErrorCode: .normalClosure)
        send(.connectionClose, code)
    }

    /// Drops the connection by a TCP reset, as a lost client does.
    func reset() { channel.reset() }

    /// Whether what arrives is read.
    func setReading(_ isReading: Bool) {
        channel.setOption(.autoRead, value: isReading).whenFailure { [channel] _ in
            channel.close(promise: nil)
        }
    }
}

extension Channel {
    /// Closes the connection by a TCP reset.
    func reset() {
        guard let options = self as? any SocketOptionProvider else {
            return close(promise: nil)
        }
        options.setSoLinger(linger(l_onoff: 1, l_linger: 0)).whenComplete { _ in
            self.close(promise: nil)
        }
    }
}

/// Passes messages on, answers pings and close frames.
private final class MessageHandler: ChannelInboundHandler {
    typealias InboundIn = WebSocketFrame
    typealias OutboundOut = WebSocketFrame

    private let receive: @Sendable (WebSocketClient.Message) -> Void

    init(_ receive: @escaping @Sendable (WebSocketClient.Message) -> Void) {
        self.receive = receive
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = unwrapInboundIn(data)
        switch frame.opcode {
        case .text: receive(.text(String(buffer: frame.unmaskedData)))
        case .binary: receive(.binary(frame.unmaskedData))
        case .ping: answer(.pong, frame, context)
        case .connectionClose:
            answer(.connectionClose, frame, context)
            context.close(promise: nil)
        default: break
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        receive(.closed)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // A lost connection, or what is not a WebSocket: `closed` follows.
        context.close(promise: nil)
    }

    private func answer(
        _ opcode: WebSocketOpcode,
        _ frame: WebSocketFrame,
        _ context: ChannelHandlerContext
    ) {
        let answer = WebSocketFrame(
            fin: true,
            opcode: opcode,
            maskKey: .random(),
            data: frame.unmaskedData
        )
        context.writeAndFlush(wrapOutboundOut(answer), promise: nil)
    }
}
