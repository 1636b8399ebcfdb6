import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// An HTTP server on loopback that answers as a test says, and can misbehave: cut a connection in
/// the middle of an answer, or fall silent.
public final class LoopbackServer: Sendable {
    /// A request.
    public struct Request: Sendable {
        /// `GET`, `CONNECT` and so on.
        public let method: String
        /// The path and the query.
        public let target: String
        /// The headers, with names in lowercase.
        public let headers: [String: String]

        /// The path without the query.
        public var path: String { String(target.prefix { $0 != "?" }) }
    }

    /// An answer.
    public struct Answer: Sendable {
        /// The status code.
        public var status: Int
        /// The headers, without `Content-Length`.
        public var headers: [(String, String)]
        /// All of the content.
        public var body: [UInt8]
        /// How much of the body is sent; nil for all of it.
        public var sent: Int?
        /// What follows the part of the body that is sent.
        public var end = End.close

        /// How an answer ends that is not sent whole.
        public enum End: Sendable { case close, silence }

        /// Creates an answer.
        public init(
            _ status: Int = 200,
            headers: [(String, String)] = [],
            body: [UInt8] = []
        ) {
            (self.status, self.headers, self.body) = (status, headers, body)
        }

        /// Creates an answer of text.
        public init(_ status: Int = 200, headers: [(String, String)] = [], text: String) {
            self.init(status, headers: headers, body: Array(text.utf8))
        }
    }

    private let channel: any Channel
    private let log: RequestLog

    /// The port that the system chose.
    public let port: Int

    /// Starts a server.
    public init(_ answer: @escaping @Sendable (Request) -> Answer) async throws {
        let log = RequestLog()
        channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.backlog, value: 64)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.configureHTTPServerPipeline(withPipeliningAssistance: false)
                    try pipeline.addHandler(Answering(log, answer))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        port = channel.localAddress?.port ?? 0
        self.log = log
    }

    /// The requests so far.
    public var requests: [Request] { log.requests.withLock { $0 } }

    /// Forgets the requests so far.
    public func forget() { log.requests.withLock { $0 = [] } }

    /// Stops the server.
    public func stop() async throws { try await channel.close() }
}

private final class RequestLog: Sendable {
    let requests = Mutex<[LoopbackServer.Request]>([])
}

private final class Answering: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let log: RequestLog
    private let answer: @Sendable (LoopbackServer.Request) -> LoopbackServer.Answer
    private var head: HTTPRequestHead?

    init(
        _ log: RequestLog,
        _ answer: @escaping @Sendable (LoopbackServer.Request) -> LoopbackServer.Answer
    ) {
        (self.log, self.answer) = (log, answer)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): self.head = head
        case .body: break
        case .end: if let head { respond(to: head, context) }
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    private func respond(to head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        var headers: [String: String] = [:]
        for (name, value) in head.headers { headers[name.lowercased()] = value }
        let request = LoopbackServer.Request(
            method: head.method.rawValue,
            target: head.uri,
            headers: headers
        )
        log.requests.withLock { $0.append(request) }
        let answer = answer(request)
        var fields = HTTPHeaders(answer.headers)
        fields.replaceOrAdd(name: "Content-Length", value: "\(answer.body.count)")
        let status = HTTPResponseStatus(statusCode: answer.status)
        context.write(
            wrapOutboundOut(.head(.init(version: .http1_1, status: status, headers: fields))),
            promise: nil
        )
        let part = answer.body.prefix(answer.sent ?? answer.body.count)
        let body = context.channel.allocator.buffer(bytes: part)
        context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
        guard part.count < answer.body.count else {
            context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
            return
        }
        let closes = answer.end == .close
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(.init())))).whenComplete { _ in
            if closes { bound.value.close(promise: nil) }
        }
    }
}
