import NIOCore

/// Closes a connection that is still open some time after the server was asked to stop.
final class ShutdownDeadline: ChannelInboundHandler {
    typealias InboundIn = NIOAny

    private let gracePeriod: TimeAmount
    private var deadline: Scheduled<Void>?

    init(gracePeriod: Duration) {
        self.gracePeriod = TimeAmount(gracePeriod)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is ChannelShouldQuiesceEvent, deadline == nil {
            deadline = context.eventLoop.assumeIsolated().scheduleTask(in: gracePeriod) {
                context.close(promise: nil)
            }
        }
        context.fireUserInboundEventTriggered(event)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        deadline?.cancel()
    }
}
