import Foundation
package import NIOCore
import NIOWebSocket

/// An open WebSocket connection.
///
/// Pings, pongs, close frames and malformed frames are handled below it.
package final class WebSocketConnection: Sendable {
    /// The messages of the client.
    package let messages: WebSocketMessages
    private let channel: any Channel
    private let waiting = ByteCounter()

    init(channel: any Channel, inbound: NIOAsyncChannelInboundStream<WebSocketMessage>) {
        self.channel = channel
        messages = WebSocketMessages(inbound: inbound)
    }

    /// Sends a text message; see `send(_:)` for bytes.
    package func send(_ text: String) async throws {
        try await send(.text, ByteBuffer(string: text))
    }

    /// Sends a binary message, and returns when the system has taken all of it.
    ///
    /// A client that does not read suspends the caller until the connection is closed; `close(_:)` is the way
    /// to give up earlier. Throws if the connection is closed.
    package func send(_ bytes: ByteBuffer) async throws {
        try await send(.binary, bytes)
    }

    /// The number of bytes that were passed to `send` and not yet taken by the system.
    package var bufferedAmount: Int { waiting.count }

    /// Starts to close the connection, which ends `messages` and makes `send` throw.
    ///
    /// Returns at once. The connection is gone when the client has answered, or two seconds later.
    package func close(_ reason: WebSocketClose) {
        channel.triggerUserOutboundEvent(reason, promise: nil)
    }

    /// Calls a function when the connection is gone.
    func whenClosed(_ action: @escaping @Sendable () -> Void) {
        channel.closeFuture.whenComplete { _ in action() }
    }

    private func send(_ opcode: WebSocketOpcode, _ data: ByteBuffer) async throws {
        let size = data.readableBytes
        waiting.add(size)
        defer { waiting.add(-size) }
        try await channel.writeAndFlush(WebSocketFrame(fin: true, opcode: opcode, data: data))
    }
}

/// The messages of a WebSocket client.
///
/// The sequence ends when either side closes the connection, when the connection is lost, and when the server
/// stops. It can be iterated once. While it is not read, the client is slowed down.
package struct WebSocketMessages: AsyncSequence, Sendable {
    fileprivate let inbound: NIOAsyncChannelInboundStream<WebSocketMessage>

    package func makeAsyncIterator() -> Iterator {
        Iterator(base: inbound.makeAsyncIterator())
    }

    package struct Iterator: AsyncIteratorProtocol {
        fileprivate var base: NIOAsyncChannelInboundStream<WebSocketMessage>.AsyncIterator

        package mutating func next() async -> WebSocketMessage? {
            do {
                return try await base.next()
            } catch {
                // A lost connection, or a cancelled task: there are no more messages.
                return nil
            }
        }
    }
}

/// A number of bytes that several tasks change.
private final class ByteCounter: @unchecked Sendable {
    // `lock` protects the value.
    private let lock = NSLock()
    private var value = 0

    var count: Int { lock.withLock { value } }

    func add(_ bytes: Int) { lock.withLock { value += bytes } }
}
