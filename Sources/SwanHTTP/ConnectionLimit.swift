import Foundation
import HTTPTypes
import HummingbirdCore
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

    private static let response: ByteBuffer = {
        let error = APIError(
            .serviceUnavailable,
            "too_many_connections",
            "The server has as many connections as it allows; try again in a moment.",
            headers: [.retryAfter: "1"]
        )
        var body = error.body
        var fields = error.response.headers
        fields[.connection] = "close"
        fields[.contentLength] = "\(body.readableBytes)"
        SecurityHeaders.add(to: &fields)
        let lines = fields.map { "\($0.name): \($0.value)" }
        let head = ["HTTP/1.1 \(error.status)"] + lines + ["", ""]
        var response = ByteBuffer(string: head.joined(separator: "\r\n"))
        response.writeBuffer(&body)
        return response
    }()

    private let isSecure: Bool

    init(isSecure: Bool) {
        self.isSecure = isSecure
    }

    func channelActive(context: ChannelHandlerContext) {
        // A TLS handshake would be more work than the answer is worth.
        if isSecure { return context.close(promise: nil) }
        context.writeAndFlush(wrapOutboundOut(Self.response)).assumeIsolated().whenComplete { _ in
            context.close(promise: nil)
        }
    }
}
