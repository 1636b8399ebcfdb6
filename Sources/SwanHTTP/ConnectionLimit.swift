import Foundation
import NIOCore

/// Limits the number of open connections.
final class ConnectionCounter: @unchecked Sendable {
    private let limit: Int
    // `lock` protects the count.
    private let lock = NSLock()
    private var count = 0

    init(limit: Int) {
        self.limit = limit
    }

    /// Whether the connection is within the limit. If so, it counts until it is closed.
    func admit(_ channel: any Channel) -> Bool {
        let isAdmitted = lock.withLock {
            guard count < limit else { return false }
            count += 1
            return true
        }
        if isAdmitted {
            channel.closeFuture.whenComplete { _ in self.lock.withLock { self.count -= 1 } }
        }
        return isAdmitted
    }
}

/// Answers a connection beyond the limit without reading from it.
final class OverloadHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private static let response = """
        HTTP/1.1 503 Service Unavailable\r
        Retry-After: 1\r
        Content-Length: 0\r
        Connection: close\r
        \r

        """

    private let isSecure: Bool

    init(isSecure: Bool) {
        self.isSecure = isSecure
    }

    func channelActive(context: ChannelHandlerContext) {
        // A TLS handshake would be more work than the answer is worth.
        if isSecure { return context.close(promise: nil) }
        let buffer = ByteBuffer(string: Self.response)
        context.writeAndFlush(wrapOutboundOut(buffer)).assumeIsolated().whenComplete { _ in
            context.close(promise: nil)
        }
    }
}
