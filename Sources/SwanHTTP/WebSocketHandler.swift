import NIOCore
import NIOWebSocket

/// Turns frames into messages, keeps the connection alive, and closes it in order.
final class WebSocketHandler: ChannelDuplexHandler {
    typealias InboundIn = WebSocketFrame
    typealias InboundOut = WebSocketMessage
    typealias OutboundIn = WebSocketFrame
    typealias OutboundOut = WebSocketFrame

    private let limits: WebServerOptions.WebSocketLimits
    /// How long the application may still send after the server was asked to stop.
    private let farewellTime: TimeAmount

    private var assembler: MessageAssembler
    /// Set when the close frame is written; completed when it has left.
    private var closeFrame: EventLoopFuture<Void>?
    private var isStopping = false
    private var closeDeadline: Scheduled<Void>?

    private var keepalive: Scheduled<Void>?
    private var lastHeard = NIODeadline.now()
    private var lastPing = NIODeadline.now()
    private var stallWatch = StallWatch()
    /// Whether the application wants to read. Otherwise nothing is heard of the client, through no fault of it.
    private var isReading = true

    private var isOpen: Bool { closeFrame == nil }

    init(limits: WebServerOptions.WebSocketLimits, gracePeriod: Duration) {
        self.limits = limits
        farewellTime = TimeAmount(gracePeriod / 5)
        assembler = MessageAssembler(limits)
    }

    func handlerAdded(context: ChannelHandlerContext) {
        scheduleKeepalive(context)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        keepalive?.cancel()
        closeDeadline?.cancel()
    }

    // MARK: - Frames from the client

    func read(context: ChannelHandlerContext) {
        if !isReading { lastHeard = .now() }
        isReading = true
        context.read()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        lastHeard = .now()
        do {
            try handle(assembler.receive(unwrapInboundIn(data)), context)
        } catch {
            fail(error, context)
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        isReading = false
        context.fireChannelReadComplete()
        // The application reads no more, but the client's close frame is still to come.
        if !isOpen { context.read() }
    }

    private func handle(_ event: MessageAssembler.Event, _ context: ChannelHandlerContext) {
        switch event {
        case .fragment, .pong:
            break
        case .message(let message):
            if isOpen { context.fireChannelRead(wrapInboundOut(message)) }
        case .ping(let payload):
            // Answers to a client that does not read them would fill memory.
            if isOpen, context.channel.isWritable { send(.pong, payload, context) }
        case .close(let answer):
            close(answer, context)
            closeFrame?.assumeIsolated().whenComplete { _ in context.close(promise: nil) }
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch error {
        case NIOWebSocketError.invalidFrameLength:
            let limit = MessageAssembler.maximumFrame(limits)
            fail(WebSocketClose(1009, "Frames have at most \(limit) bytes."), context)
        case is NIOWebSocketError:
            fail(
                WebSocketClose(
                    1002,
                    "Control frames have at most 125 bytes and are not fragmented."
                ),
                context
            )
        case is ByteToMessageDecoderError where !isOpen:
            break
        default:
            context.fireErrorCaught(error)
            context.close(promise: nil)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is ChannelShouldQuiesceEvent:
            stop(context)
        case ChannelEvent.inputClosed:
            context.fireUserInboundEventTriggered(event)
            context.close(promise: nil)
        default:
            context.fireUserInboundEventTriggered(event)
        }
    }

    // MARK: - Frames to the client

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard isOpen else {
            promise?.fail(ChannelError.ioOnClosedChannel)
            return
        }
        let written = promise ?? context.eventLoop.makePromise()
        written.futureResult.assumeIsolated().whenSuccess { self.stallWatch.madeProgress() }
        context.write(data, promise: written)
    }

    @discardableResult
    private func send(
        _ opcode: WebSocketOpcode,
        _ payload: ByteBuffer,
        _ context: ChannelHandlerContext
    ) -> EventLoopFuture<Void> {
        let frame = WebSocketFrame(fin: true, opcode: opcode, data: payload)
        return context.writeAndFlush(wrapOutboundOut(frame))
    }

    // MARK: - Keepalive

    private func scheduleKeepalive(_ context: ChannelHandlerContext) {
        let time = TimeAmount(limits.pingInterval / 3)
        keepalive = context.eventLoop.assumeIsolated().scheduleTask(in: time) {
            self.checkLife(context)
        }
    }

    /// Closes the connection if the client is gone, and sends a ping if one is due.
    private func checkLife(_ context: ChannelHandlerContext) {
        let now = NIODeadline.now()
        let timeout = limits.silenceTimeout
        let output = stallWatch.state(of: context.channel, timeout: timeout)
        if output == .stalled || (isReading && now - lastHeard >= TimeAmount(timeout)) {
            return context.close(promise: nil)
        }
        // Reads that began before the upgrade went unseen. The application lets this one pass if it wants to read.
        if !isReading { context.channel.read() }
        if isOpen, context.channel.isWritable, now - lastPing >= TimeAmount(limits.pingInterval) {
            lastPing = now
            send(.ping, ByteBuffer(), context)
        }
        scheduleKeepalive(context)
    }

    // MARK: - The end

    func triggerUserOutboundEvent(
        context: ChannelHandlerContext,
        event: Any,
        promise: EventLoopPromise<Void>?
    ) {
        guard let reason = event as? WebSocketClose else {
            return context.triggerUserOutboundEvent(event, promise: promise)
        }
        close(isStopping && reason == .normal ? .goingAway : reason, context)
        promise?.succeed()
    }

    /// Sends a close frame, and waits a short time for the client's.
    private func close(_ reason: WebSocketClose, _ context: ChannelHandlerContext) {
        guard isOpen else { return }
        closeFrame = send(.connectionClose, reason.payload, context)
        endMessages(context)
        closeDeadline?.cancel()
        closeDeadline = context.eventLoop.assumeIsolated()
            .scheduleTask(in: TimeAmount(limits.closeTimeout)) { context.close(promise: nil) }
        context.read()
    }

    /// Fails the connection because of what the client sent.
    private func fail(_ reason: WebSocketClose, _ context: ChannelHandlerContext) {
        guard isOpen else { return }
        close(reason, context)
        // The client need not answer; it sees the close frame and the end of the stream.
        context.close(mode: .output, promise: nil)
    }

    /// Ends the client's messages; the application may still send some before the connection is closed.
    private func stop(_ context: ChannelHandlerContext) {
        guard !isStopping else { return }
        isStopping = true
        endMessages(context)
        closeDeadline = context.eventLoop.assumeIsolated().scheduleTask(in: farewellTime) {
            self.close(.goingAway, context)
        }
    }

    private func endMessages(_ context: ChannelHandlerContext) {
        context.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
    }
}
