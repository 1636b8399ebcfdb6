import Foundation
import SwanPipelines
import SwanSystem

/// A session that an agent started: a file that is played, and the newest of its restyled frames.
final class AgentSession: @unchecked Sendable {
    /// What the session reported about a change.
    enum Outcome: Sendable {
        case applied(chunk: Int, issues: [String])
        case refused(String)
    }

    let session: LiveSession
    /// The name of the source as the agent gave it.
    let source: String

    // Everything below is protected by `lock`.
    private let lock = NSLock()
    private var newest: OutputFrame?
    private var outcomes: [UInt32: Outcome] = [:]
    private var lastEvent: UInt32
    /// The newest change that frames are to show, and the newest that has taken effect.
    private var wanted: UInt32, applied: UInt32
    /// The first chunk that the newest change in effect shapes.
    private var appliedChunk: UInt32?
    private var failure: String?
    private var hasEnded = false

    init(_ session: LiveSession, source: String, event: UInt32) {
        self.session = session
        self.source = source
        (lastEvent, wanted, applied) = (event, event, event)
    }

    var isOver: Bool { lock.withLock { hasEnded } }

    /// Why the session ended by itself; nil if it did not.
    var failureReason: String? { lock.withLock { failure } }

    /// The newest frame, and the newest change that it should show.
    private var state: (frame: OutputFrame?, event: UInt32, chunk: UInt32?) {
        lock.withLock { (newest, wanted, appliedChunk) }
    }

    /// Takes what the session gives, until it ends.
    func receive() {
        // Only the newest frame is of interest.
        let outbox = Outbox(frameCapacity: 1)
        session.attach(outbox)
        Task {
            while let item = await outbox.next() { take(item) }
            lock.withLock { hasEnded = true }
        }
    }

    private func take(_ item: Outbox.Item) {
        lock.withLock {
            switch item {
            case .frame(let frame): newest = frame
            case .message(.applied(let report)):
                (applied, appliedChunk) = (report.event, UInt32(clamping: report.chunk))
                outcomes[report.event] = .applied(chunk: report.chunk, issues: report.issues)
            case .message(.failure(let error)):
                if let event = error.event {
                    if wanted == event { wanted = applied }
                    outcomes[event] = .refused(error.message)
                } else {
                    failure = error.message
                }
            case .message: break
            }
        }
    }

    /// Records why the source cannot be played any more.
    func fail(_ reason: String) { lock.withLock { failure = reason } }

    /// Asks for a change, and waits until the session has reported on it.
    ///
    /// - Returns: nil if it has not within `timeout`: the change waits for the next chunk.
    func change(
        _ change: StreamChange,
        isPaused: Bool?,
        timeout: Duration
    ) async throws -> Outcome? {
        var change = change
        change.event = lock.withLock {
            lastEvent += 1
            wanted = lastEvent
            outcomes = [:]
            return lastEvent
        }
        session.change(change, isPaused: isPaused)
        let event = change.event
        return try await wait(timeout) { self.lock.withLock { self.outcomes[event] } }
    }

    /// Waits for a frame; nil if there is none within `timeout`.
    ///
    /// - Parameter isUpToDate: Whether the frame must show the newest change: frames of the first chunk that it shapes
    ///   still have something of the frames before them.
    func frame(isUpToDate: Bool, timeout: Duration) async throws -> OutputFrame? {
        let found = try await wait(timeout) { () -> OutputFrame? in
            let (frame, event, chunk) = self.state
            guard isUpToDate, let frame else { return frame }
            let isSettled = chunk.map { frame.header.chunk > $0 } ?? true
            return frame.header.event >= event && isSettled ? frame : nil
        }
        return found ?? state.frame
    }

    /// Asks for a value until there is one, the session has ended or the time is over.
    private func wait<Value>(
        _ timeout: Duration,
        for value: () -> Value?
    ) async throws -> Value? {
        let end = ContinuousClock.now + timeout
        while true {
            if let value = value() { return value }
            guard !isOver, ContinuousClock.now < end else { return nil }
            try await Task.sleep(for: .milliseconds(10))
        }
    }
}
