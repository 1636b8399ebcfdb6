import NIOCore
import NIOHTTP1
import NIOPosix
import SwanSystem

/// Asks a server on this machine for the status of a path.
enum HTTPProbe {
    /// Sends a `GET` and returns the status code of the answer.
    static func status(of path: String, port: Int, on loop: any EventLoop) throws -> Int {
        let status = loop.makePromise(of: Int.self)
        let bootstrap = ClientBootstrap(group: loop).connectTimeout(.seconds(5))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHTTPClientHandlers()
                    try channel.pipeline.syncOperations.addHandler(StatusHandler(status))
                }
            }
        let connection = bootstrap.connect(host: "127.0.0.1", port: port)
        connection.whenFailure { status.fail($0) }
        connection.whenSuccess { channel in
            let head = HTTPRequestHead(
                version: .http1_1,
                method: .GET,
                uri: path,
                headers: ["Host": "127.0.0.1:\(port)", "Connection": "close"]
            )
            channel.write(HTTPClientRequestPart.head(head), promise: nil)
            channel.writeAndFlush(HTTPClientRequestPart.end(nil), promise: nil)
        }
        return try status.futureResult.wait()
    }
}

private final class StatusHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart

    private let status: EventLoopPromise<Int>

    init(_ status: EventLoopPromise<Int>) { self.status = status }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if case .head(let head) = unwrapInboundIn(data) { status.succeed(Int(head.status.code)) }
    }

    func channelInactive(context: ChannelHandlerContext) {
        status.fail(SwanError(.libraryFailed, "the server closes the connection without an answer"))
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        status.fail(error)
        context.close(promise: nil)
    }
}
