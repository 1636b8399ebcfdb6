import Logging
import NIOCore
import NIOPosix
import SwanHTTP
import SwanSystem

/// Where OSC messages are received.
package struct OSCAddress: Sendable, Equatable, CustomStringConvertible {
    /// An address of this machine, or its name.
    package let host: String
    /// The port; 0 lets the system choose one.
    package let port: Int

    /// Parses `PORT` or `HOST:PORT`; the host is the loopback address unless given.
    package init?(_ text: String) {
        if let port = UInt16(text) {
            (host, self.port) = ("127.0.0.1", Int(port))
            return
        }
        guard let authority = Authority(text), let port = authority.port else { return nil }
        (host, self.port) = (authority.host, port)
    }

    /// `HOST:PORT`.
    package var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    /// Whether only this machine can send messages to it.
    var isLoopback: Bool { Authority(host: host)?.isLoopback ?? false }
}

/// Receives packets of OSC over UDP.
struct OSCListener {
    private let channel: any Channel

    /// Starts to listen.
    ///
    /// - Parameter receive: Called with each packet, on a thread of the network library.
    init(
        _ address: OSCAddress,
        log: Logger,
        receive: @escaping @Sendable (ByteBufferView) -> Void
    ) async throws {
        do {
            channel = try await DatagramBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .channelOption(
                    .recvAllocator,
                    value: FixedSizeRecvByteBufferAllocator(capacity: 1 << 16)
                )
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(PacketHandler(receive))
                    }
                }
                .bind(host: address.host, port: address.port)
                .get()
        } catch let error as IOError {
            throw SwanError(
                .deviceUnavailable,
                "cannot receive OSC on \(address.host) port \(address.port): "
                    + SwanError.reason(error.errnoCode)
            )
        }
        let port = channel.localAddress?.port ?? address.port
        log.notice("receiving OSC on \(address.host) port \(port)")
        if !address.isLoopback {
            log.warning(
                "OSC has no authentication: whoever reaches \(address.host) port \(port) controls the sessions"
            )
        }
    }

    /// Stops listening.
    func close() { channel.close(promise: nil) }
}

private final class PacketHandler: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>

    private let receive: @Sendable (ByteBufferView) -> Void

    init(_ receive: @escaping @Sendable (ByteBufferView) -> Void) { self.receive = receive }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        receive(unwrapInboundIn(data).data.readableBytesView)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // Such as an ICMP message about a packet that was never sent: the socket goes on.
    }
}
