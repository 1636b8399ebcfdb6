import HTTPTypes
import SwanHTTP
import SwanPipelines
import SwanSystem
import Synchronization

/// Whether a server takes sessions, and why not.
package final class ServerHealth: Sendable {
    /// What a server can be.
    package enum State: Sendable, Equatable {
        /// The model is being loaded.
        case loading
        case ready
        /// The server was asked to stop.
        case draining
        /// The device failed; the server ends.
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
            if state != .failed, !(state == .draining && new == .ready) { state = new }
            return state
        }
        metrics.setReady(state == .ready)
    }

    /// Notices a lost device in a stream's report: other streams cannot go on either.
    func watch(_ report: SharedStreamReport) {
        guard case .ended(let error as SwanError) = report, error.code == .deviceUnavailable else {
            return
        }
        become(.failed)
        failed.yield(error)
    }

    /// The refusal while the server takes no sessions; nil if it does.
    var refusal: APIError? {
        switch state {
        case .ready: nil
        case .loading: unavailable("loading", "The model is being loaded; try again in a moment.")
        case .draining: unavailable("draining", "The server is stopping.")
        case .failed: unavailable("device_failed", "The device has failed; the server is stopping.")
        }
    }

    private func unavailable(_ code: String, _ message: String) -> APIError {
        APIError(.serviceUnavailable, code, message, headers: [.retryAfter: "2"])
    }
}
