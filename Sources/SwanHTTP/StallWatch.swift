import NIOCore

/// Tells a client that reads slowly from one that does not read at all.
struct StallWatch {
    /// What happens to the bytes that wait for a client.
    enum State {
        /// There are none.
        case idle
        case progressing
        /// None has left for the given time.
        case stalled
    }

    private var waiting = 0
    private var lastProgress = NIODeadline.now()

    /// Notes that a message has left.
    mutating func madeProgress() {
        waiting = 0
    }

    /// Looks at the bytes that wait. Must be called repeatedly, on the event loop.
    mutating func state(of channel: any Channel, timeout: Duration) -> State {
        let now = NIODeadline.now()
        let bytes = (try? channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
        if waiting == 0 || bytes < waiting { lastProgress = now }
        waiting = bytes
        if bytes == 0 { return .idle }
        return now - lastProgress < TimeAmount(timeout) ? .progressing : .stalled
    }
}
