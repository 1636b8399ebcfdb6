import HTTPTypes
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import NIOHTTPTypesHTTP1
import SwanSystem

/// The first handler behind the HTTP parser. It lets only well-formed, permitted requests pass, answers all
/// others itself, and closes connections that take too long.
///
/// It stands behind an `HTTPServerPipelineHandler`, so at most one request is open at a time.
final class RequestGate: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    private enum Phase {
        /// Requests pass.
        case open
        /// A WebSocket handshake waits for a decision; the parts are those that arrived so far.
        case deciding([HTTPServerRequestPart])
        /// The last response was written. What still arrives is read and dropped, since closing a socket
        /// with unread data would destroy a response on its way.
        case lingering
    }

    /// How long a client has to close its side after the last response.
    private static let lingerTime = TimeAmount.seconds(1)

    private let rules: AccessRules
    private let limits: WebServerOptions.Limits
    private let resolve: WebSocketResolver
    private let acceptance: NIOLoopBoundBox<WebSocketAcceptance?>
    private let observer: (@Sendable (RequestReport) -> Void)?
    private let log: Logger

    private var phase = Phase.open
    private var request: HTTPRequestHead?
    private var requests = 0
    private var bodyBytes = 0
    private var bodyLimit = 0
    private var bodyStart = NIODeadline.now()
    private var isReceivingBody = false
    private var isInputClosed = false
    private var isOutputClosed = false
    /// Whether a response is due, and whether its head was written.
    private var isResponseDue = false
    private var hasResponseHead = false
    private var closesAfterResponse = false
    private var deadline: Scheduled<Void>?
    private var stallCheck: Scheduled<Void>?
    private var stallWatch = StallWatch()

    init(
        rules: AccessRules,
        limits: WebServerOptions.Limits,
        resolve: @escaping WebSocketResolver,
        acceptance: NIOLoopBoundBox<WebSocketAcceptance?>,
        observer: (@Sendable (RequestReport) -> Void)?,
        log: Logger
    ) {
        self.observer = observer
        self.rules = rules
        self.limits = limits
        self.resolve = resolve
        self.acceptance = acceptance
        self.log = log
    }

    // MARK: - Requests

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let part = unwrapInboundIn(data)
        switch phase {
        case .lingering: break
        case .deciding(let parts): phase = .deciding(parts + [part])
        case .open: receive(part, context)
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        context.fireChannelReadComplete()
        if case .lingering = phase { context.read() }
    }

    private func receive(_ part: HTTPServerRequestPart, _ context: ChannelHandlerContext) {
        switch part {
        case .head(let head):
            begin(head, context)
        case .body(let buffer):
            bodyBytes += buffer.readableBytes
            guard bodyBytes <= bodyLimit else {
                return refuse(.bodyTooLarge(limit: bodyLimit), context)
            }
            context.fireChannelRead(wrapInboundOut(part))
        case .end:
            isReceivingBody = false
            setDeadline(isResponseDue ? nil : limits.idleTimeout, context)
            context.fireChannelRead(wrapInboundOut(part))
        }
    }

    private func begin(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        request = head
        requests += 1
        bodyBytes = 0
        bodyLimit = limits.bodyBytes(of: head)
        bodyStart = .now()
        isReceivingBody = true
        isResponseDue = true
        hasResponseHead = false
        // The parser stops behind a request that asks for an upgrade, granted or not.
        closesAfterResponse = !head.isKeepAlive || head.headers.contains(name: "upgrade")
        setDeadline(limits.bodyTimeout, context)
        if let error = rules.refusal(of: head) { return refuse(error, context) }
        guard head.isWebSocketUpgrade else {
            if head.expectsContinue { writeContinue(context) }
            // NIO's upgrade handler loses requests that ask for other protocols.
            var head = head
            head.headers.remove(name: "upgrade")
            return context.fireChannelRead(wrapInboundOut(.head(head)))
        }
        if let error = UpgradeRules.refusal(of: head, isFirst: requests == 1) {
            return refuse(error, context)
        }
        decide(head, context)
    }

    /// Asks for the body, with which some clients wait until their headers are accepted.
    private func writeContinue(_ context: ChannelHandlerContext) {
        let head = HTTPResponseHead(version: .http1_1, status: .continue)
        context.writeAndFlush(wrapOutboundOut(.head(head)), promise: nil)
    }

    // MARK: - WebSocket handshakes

    private func decide(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        phase = .deciding([.head(head)])
        guard let request = try? HTTPRequest(head.withoutToken, secure: false, splitCookie: false)
        else {
            return refuse(.notFound, context)
        }
        let promise = context.eventLoop.makePromise(of: WebSocketDecision.self)
        promise.completeWithTask { [resolve] in await resolve(request) }
        promise.futureResult.assumeIsolated().whenSuccess { decision in
            self.apply(decision, context)
        }
    }

    private func apply(_ decision: WebSocketDecision, _ context: ChannelHandlerContext) {
        guard case .deciding(let parts) = phase, context.channel.isActive else { return }
        phase = .open
        switch decision {
        case .refuse(let error):
            refuse(error, context)
        case .accept(let subprotocol, let handler):
            acceptance.value = WebSocketAcceptance(subprotocol: subprotocol, handler: handler)
            log.debug("\(request?.path.printable() ?? ""): WebSocket")
            for part in parts { context.fireChannelRead(wrapInboundOut(part)) }
            context.fireChannelReadComplete()
        }
    }

    // MARK: - Refusals

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if case .lingering = phase { return }
        // Data behind a parsing error, which itself may still wait for an earlier response.
        if error is ByteToMessageDecoderError { return }
        guard let error = error as? HTTPParserError else {
            context.fireErrorCaught(error)
            return context.close(promise: nil)
        }
        if !isResponseDue {
            request = nil
            isResponseDue = true
            hasResponseHead = false
        }
        refuse(error == .headerOverflow ? .headersTooLarge : .malformed, context)
    }

    /// Answers the current request with an error, and closes the connection.
    private func refuse(_ error: APIError, _ context: ChannelHandlerContext) {
        log.debug(
            "\(request?.method.rawValue ?? "-") \(request?.path.printable() ?? "-"): \(error.status.code) \(error.code)"
        )
        guard isResponseDue, !hasResponseHead else { return context.close(promise: nil) }
        report(error)
        var fields = error.response.headers
        fields[.connection] = "close"
        SecurityHeaders.add(to: &fields)
        let head = HTTPResponseHead(HTTPResponse(status: error.status, headerFields: fields))
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        if request?.method != .HEAD {
            context.write(wrapOutboundOut(.body(.byteBuffer(error.body))), promise: nil)
        }
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        isResponseDue = false
        linger(context)
        // Ends the route handler, if the request has reached one.
        context.fireErrorCaught(error)
    }

    private func report(_ error: APIError) {
        let method = request?.method.rawValue ?? ""
        let status = error.status.code
        observer?(RequestReport(method: method, route: nil, status: status, seconds: 0))
    }

    /// Closes the output, and the connection once the client has closed its side too.
    private func linger(_ context: ChannelHandlerContext, promise: EventLoopPromise<Void>? = nil) {
        phase = .lingering
        schedule(TimeAmount(limits.stallTimeout / 4), context) { self.closeWhenWritten($0) }
        let closed = promise ?? context.eventLoop.makePromise()
        closed.futureResult.assumeIsolated().whenComplete { _ in
            self.isOutputClosed = true
            if self.isInputClosed { return context.close(promise: nil) }
            self.schedule(Self.lingerTime, context) { $0.close(promise: nil) }
        }
        context.close(mode: .output, promise: closed)
        context.read()
    }

    // MARK: - Responses

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        if case .lingering = phase {
            promise?.fail(ChannelError.ioOnClosedChannel)
            return
        }
        switch unwrapOutboundIn(data) {
        case .head(var head) where head.status.code >= 200:
            hasResponseHead = true
            if closesAfterResponse { head.headers.replaceOrAdd(name: "connection", value: "close") }
            context.write(wrapOutboundOut(.head(head)), promise: promise)
        case .end where closesAfterResponse:
            isResponseDue = false
            context.writeAndFlush(data, promise: promise)
            linger(context)
        case .end:
            isResponseDue = false
            stallWatch = StallWatch()
            if !isReceivingBody { setDeadline(limits.idleTimeout, context) }
            context.write(data, promise: promise)
        case .head, .body:
            context.write(data, promise: promise)
        }
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        switch (mode, phase) {
        case (.all, .lingering): context.channel.closeFuture.cascade(to: promise)
        case (.output, .lingering): promise?.succeed()
        case (.output, _): linger(context, promise: promise)
        default: context.close(mode: mode, promise: promise)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed = event {
            isInputClosed = true
            if isOutputClosed { return context.close(promise: nil) }
        }
        context.fireUserInboundEventTriggered(event)
    }

    // MARK: - Deadlines

    func handlerAdded(context: ChannelHandlerContext) {
        setDeadline(limits.headerTimeout, context)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        deadline?.cancel()
        stallCheck?.cancel()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        stallCheck?.cancel()
        if !context.channel.isWritable {
            stallWatch = StallWatch()
            scheduleStallCheck(context)
        }
        context.fireChannelWritabilityChanged()
    }

    private func scheduleStallCheck(_ context: ChannelHandlerContext) {
        let time = TimeAmount(limits.stallTimeout / 4)
        stallCheck = context.eventLoop.assumeIsolated().scheduleTask(in: time) {
            switch self.stallWatch.state(of: context.channel, timeout: self.limits.stallTimeout) {
            case .idle: break
            case .progressing: self.scheduleStallCheck(context)
            case .stalled: context.close(promise: nil)
            }
        }
    }

    private func setDeadline(_ time: Duration?, _ context: ChannelHandlerContext) {
        schedule(time.map { TimeAmount($0) }, context) { context in
            if let time = self.timeLeftToUpload() {
                self.setDeadline(time, context)
            } else if self.isReceivingBody, self.isResponseDue, !self.hasResponseHead {
                self.refuse(.timeout, context)
            } else {
                self.closeWhenWritten(context)
            }
        }
    }

    /// How much longer an upload may take for what has arrived of it; nil if it is not fast enough, or none.
    private func timeLeftToUpload() -> Duration? {
        guard isReceivingBody, let request, limits.isUpload(request) else { return nil }
        let earned = Duration.seconds(bodyBytes / max(limits.uploadRate, 1))
        let used = Duration.nanoseconds((NIODeadline.now() - bodyStart).nanoseconds)
        let left = limits.bodyTimeout + earned - used
        return left > .seconds(1) ? left : nil
    }

    /// Closes the connection, but not while a slow client still receives the last response.
    private func closeWhenWritten(_ context: ChannelHandlerContext) {
        let state = stallWatch.state(of: context.channel, timeout: limits.stallTimeout)
        guard case .progressing = state else { return context.close(promise: nil) }
        schedule(TimeAmount(limits.stallTimeout / 4), context) { self.closeWhenWritten($0) }
    }

    private func schedule(
        _ time: TimeAmount?,
        _ context: ChannelHandlerContext,
        _ action: @escaping (ChannelHandlerContext) -> Void
    ) {
        deadline?.cancel()
        deadline = time.map { time in
            context.eventLoop.assumeIsolated().scheduleTask(in: time) { action(context) }
        }
    }
}

extension APIError {
    fileprivate static let malformed = APIError(
        .badRequest,
        "malformed_request",
        "The request is not valid HTTP/1.1."
    )

    fileprivate static let headersTooLarge = APIError(
        .requestHeaderFieldsTooLarge,
        "headers_too_large",
        "The headers of the request are too large."
    )

    fileprivate static let timeout = APIError(
        .requestTimeout,
        "request_timeout",
        "The request took too long to arrive."
    )
}

extension HTTPRequestHead {
    /// Whether the client waits for `100 Continue` before it sends the body.
    fileprivate var expectsContinue: Bool {
        version == .http1_1
            && headers[canonicalForm: "expect"].contains { $0.lowercased() == "100-continue" }
    }

    /// The request without the access token, which its receiver has no use for and might log.
    fileprivate var withoutToken: HTTPRequestHead {
        var head = self
        head.headers.remove(name: "authorization")
        head.headers.remove(name: "sec-websocket-protocol")
        let offered = subprotocols.filter { !$0.hasPrefix(AccessToken.subprotocolPrefix) }
        if !offered.isEmpty {
            head.headers.add(name: "sec-websocket-protocol", value: offered.joined(separator: ", "))
        }
        return head
    }
}
