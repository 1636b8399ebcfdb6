import HummingbirdCore
import Logging
import NIOCore
import NIOSSL

/// Sets up connections over TLS, each with the certificate that is valid when it begins.
struct SecureConnectionSetup: ServerChildChannel, HTTPChannelHandler {
    let plain: ConnectionSetup
    let context: @Sendable () -> NIOSSLContext

    var responder: HTTPChannelHandler.Responder { plain.responder }

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<ConnectionSetup.Value> {
        channel.eventLoop.makeCompletedFuture {
            let handler = NIOSSLServerHandler(context: context())
            try channel.pipeline.syncOperations.addHandler(handler)
        }.flatMap {
            plain.setup(channel: channel, logger: logger)
        }
    }

    func handle(value: ConnectionSetup.Value, logger: Logger) async {
        await plain.handle(value: value, logger: logger)
    }
}
