import HTTPTypes
import SwanHTTP
import SwanSystem
import Synchronization

/// Whether a server takes sessions, and why not.
package final class ServerHealth: Sendable {
    /// What a server can be.
    package enum State: Sendable, Equatable {
        /// The model is being loaded.
        case loading
        case ready
        /// Some devices have failed; the others take sessions.
        case degraded
        /// The server was asked to stop.
        case draining
        /// All devices failed; the server ends.
        case failed
    }

    private let current = Mutex(State.loading)
    private let metrics: ServerMetrics
    /// Failures after which no session can go on.
    let failures: AsyncStream<SwanError>
    private let failed: AsyncStream<SwanError>.Continuation

    /// Creates the health of a server that is being started.
    package init(_ metrics: ServerMetrics) {
        self.metrics = metrics
        (failures, failed) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(1))
    }

    /// The state now.
    package var state: State { current.withLock { $0 } }

    /// Changes the state. A server that stops or has failed does not become ready again.
    func become(_ new: State) {
        let state = current.withLock { state in
            let isOver = state == .failed || (state == .draining && new != .failed)
            // A device may fail while the server starts.
            if !isOver, !(state == .degraded && new == .ready) { state = new }
            return state
        }
        metrics.setReady([.ready, .degraded].contains(state))
    }

    /// Notices a lost device: the server ends if none is left.
    func lose(_ device: String, _ error: SwanError, left: Int) {
        become(left > 0 ? .degraded : .failed)
        if left == 0 { failed.yield(error) }
    }

    /// The refusal while the server takes no sessions; nil if it does.
    var refusal: APIError? {
        switch state {
        case .ready, .degraded: nil
        case .loading: unavailable("loading", "The model is being loaded; try again in a moment.")
        case .draining: unavailable("draining", "The server is stopping.")
        case .failed: unavailable("device_failed", "The device has failed; the server is stopping.")
        }
    }

    private func unavailable(_ code: String, _ message: String) -> APIError {
        APIError(.serviceUnavailable, code, message, headers: [.retryAfter: "2"])
    }
}
