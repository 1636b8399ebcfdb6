import Foundation
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import NIOHTTPTypesHTTP1
import NIOWebSocket

/// Sets up and serves the connections of a server.
///
/// A connection starts as HTTP. Its first request decides whether it stays so or becomes a WebSocket.
struct ConnectionSetup: ServerChildChannel, HTTPChannelHandler {
    typealias HTTPChannel = NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>
    typealias MessageChannel = NIOAsyncChannel<WebSocketMessage, Never>

    /// What a connection has become.
    enum Role: Sendable {
        case http(HTTPChannel)
        case webSocket(MessageChannel, WebSocketSession)
    }

    /// A connection and its role, which is not known before the first request.
    struct Value: ServerChildChannelValue {
        let channel: any Channel
        let role: EventLoopFuture<Role>
    }

    let responder: HTTPChannelHandler.Responder
    let options: WebServerOptions
    let rules: AccessRules
    let resolve: WebSocketResolver
    let connections: ConnectionCounter

    // MARK: - Setup

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        channel.eventLoop.makeCompletedFuture {
            guard connections.admit(channel) else {
                return Value(channel: channel, role: try refuse(channel))
            }
            return Value(channel: channel, role: try addHandlers(to: channel, logger))
        }
    }

    private func addHandlers(
        to channel: any Channel,
        _ log: Logger
    ) throws -> EventLoopFuture<Role> {
        let limits = options.limits
        let acceptance = NIOLoopBoundBox<WebSocketAcceptance?>(nil, eventLoop: channel.eventLoop)
        var decoding = NIOHTTPDecoderLimitConfiguration()
        decoding.maxHeaderFieldSize = limits.headerBytes
        decoding.maxHeaderListSize = limits.headerBytes
        decoding.maxHeaderFieldCount = limits.headerCount
        let encoder = HTTPResponseEncoder()
        let http: [any RemovableChannelHandler] = [
            ByteToMessageHandler(
                HTTPRequestDecoder(
                    leftOverBytesStrategy: .forwardBytes,
                    limitConfiguration: decoding
                )
            ),
            HTTPServerPipelineHandler(),
            RequestGate(
                rules: rules,
                limits: limits,
                resolve: resolve,
                acceptance: acceptance,
                observer: options.observer,
                log: log
            ),
        ]
        let upgrade = NIOTypedHTTPServerUpgradeHandler(
            httpEncoder: encoder,
            extraHTTPHandlers: http,
            upgradeConfiguration: NIOTypedHTTPServerUpgradeConfiguration(
                upgraders: [upgrader(acceptance)],
                notUpgradingCompletionHandler: { channel in addHTTPHandlers(to: channel) }
            )
        )
        let handlers: [any RemovableChannelHandler] = [encoder] + http + [upgrade]
        let pipeline = channel.pipeline.syncOperations
        try pipeline.addHandler(ShutdownDeadline(gracePeriod: options.gracePeriod))
        try pipeline.addHandlers(handlers)
        return upgrade.upgradeResultFuture
    }

    private func addHTTPHandlers(to channel: any Channel) -> EventLoopFuture<Role> {
        channel.eventLoop.makeCompletedFuture {
            let isSecure = options.identity != nil
            try channel.pipeline.syncOperations.addHandler(HTTP1ToHTTPServerCodec(secure: isSecure))
            let http = try HTTPChannel(
                wrappingChannelSynchronously: channel,
                configuration: .init(isOutboundHalfClosureEnabled: true)
            )
            return .http(http)
        }
    }

    private func upgrader(
        _ acceptance: NIOLoopBoundBox<WebSocketAcceptance?>
    ) -> NIOTypedWebSocketServerUpgrader<Role> {
        NIOTypedWebSocketServerUpgrader(
            maxFrameSize: MessageAssembler.maximumFrame(options.limits.webSocket),
            enableAutomaticErrorHandling: false,
            shouldUpgrade: { channel, _ in
                var headers = HTTPHeaders()
                if let subprotocol = acceptance.value?.subprotocol {
                    headers.add(name: "Sec-WebSocket-Protocol", value: subprotocol)
                }
                return channel.eventLoop.makeSucceededFuture(headers)
            },
            upgradePipelineHandler: { channel, _ in
                addWebSocketHandlers(to: channel, acceptance.value)
            }
        )
    }

    private func addWebSocketHandlers(
        to channel: any Channel,
        _ acceptance: WebSocketAcceptance?
    ) -> EventLoopFuture<Role> {
        channel.eventLoop.makeCompletedFuture {
            guard let acceptance else { throw ChannelError.inappropriateOperationForState }
            let handler = WebSocketHandler(
                limits: options.limits.webSocket,
                gracePeriod: options.gracePeriod
            )
            try channel.pipeline.syncOperations.addHandler(handler)
            let messages = try MessageChannel(
                wrappingChannelSynchronously: channel,
                // Large messages: hold two, and let the rest wait at the client.
                configuration: .init(
                    backPressureStrategy: .init(lowWatermark: 1, highWatermark: 2)
                )
            )
            return .webSocket(messages, acceptance.handler)
        }
    }

    /// Ends a connection beyond the limit.
    private func refuse(_ channel: any Channel) throws -> EventLoopFuture<Role> {
        let handler = OverloadHandler(isSecure: options.identity != nil)
        try channel.pipeline.syncOperations.addHandler(handler)
        return channel.eventLoop.makeFailedFuture(ChannelError.ioOnClosedChannel)
    }

    // MARK: - Service

    func handle(value: Value, logger: Logger) async {
        await withTaskCancellationHandler {
            do {
                switch try await value.role.get() {
                case .http(let channel):
                    await handleHTTP(asyncChannel: channel, logger: logger)
                case .webSocket(let channel, let session):
                    try await serve(channel, session, logger)
                }
            } catch {
                logger.debug("Connection ended: \(error)")
                value.channel.close(promise: nil)
            }
        } onCancel: {
            value.channel.close(promise: nil)
        }
    }

    private func serve(
        _ channel: MessageChannel,
        _ session: @escaping WebSocketSession,
        _ log: Logger
    ) async throws {
        try await channel.executeThenClose { inbound in
            let connection = WebSocketConnection(channel: channel.channel, inbound: inbound)
            let end = await result(of: session, connection, log)
            connection.close(end)
            try await channel.channel.closeFuture.get()
        }
    }

    /// Runs a session until it ends, and returns how to close the connection.
    ///
    /// The task of the session is cancelled when the connection is lost.
    private func result(
        of session: @escaping WebSocketSession,
        _ connection: WebSocketConnection,
        _ log: Logger
    ) async -> WebSocketClose {
        let task = Task { try await session(connection) }
        connection.whenClosed { task.cancel() }
        let result = await withTaskCancellationHandler {
            await task.result
        } onCancel: {
            task.cancel()
        }
        do {
            try result.get()
            return .normal
        } catch let close as WebSocketClose {
            return close
        } catch is ChannelError, is IOError, is CancellationError {
            // The client left while the session was sending.
            return .normal
        } catch {
            log.error("A WebSocket session failed: \(error)")
            return .internalError
        }
    }
}
