import Dispatch
import Foundation
import SwanSystem
import Synchronization

/// Handles SIGINT, SIGTERM and SIGHUP: the first signal asks the job to stop, the second exits
/// immediately.
final class StopSignals: Sendable {
    /// The messages after the first signal, and when the process exits immediately.
    struct Messages: Sendable {
        var stopping =
            "stopping after the finished frames (repeat to discard the output)"
        var abandoned = "stopped; the unfinished output was discarded"
    }

    private let first = Mutex<Int32?>(nil)
    private let messages: Messages
    private let reload: (@Sendable () -> Void)?

    /// The exit code for the first signal; nil if there was none.
    var exitCode: Int32? { first.withLock { $0 }.map { 128 + $0 } }

    private static let lastReceived = Mutex<Int32?>(nil)

    /// The last signal that was to stop this process.
    static var last: Int32? { lastReceived.withLock { $0 } }

    /// The last such signal, or one that comes in a moment: a launcher sends one to all ranks, which
    /// do not get it at the same time.
    static var received: Int32? {
        last ?? PendingSignal.next(of: handled, within: 0.3) ?? last
    }

    /// Starts handling the signals. Call this before creating other threads, which inherit the
    /// signal mask.
    ///
    /// - Parameters:
    ///   - stop: Asks the job to stop; returns false if there is nothing to keep, to exit
    ///     immediately.
    ///   - reload: Called for SIGHUP, which then does not stop the job.
    ///   - abandon: Called before the process exits, to remove partial output.
    init(
        _ messages: Messages = Messages(),
        stop: @escaping @Sendable () -> Bool,
        reload: (@Sendable () -> Void)? = nil,
        abandon: @escaping @Sendable () -> Void
    ) throws(SwanError) {
        self.messages = messages
        self.reload = reload
        var signals = Self.handled
        // Blocked signals stay pending until the thread below receives them.
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        try startThread("swan.signals") { [self, signals] in
            var signals = signals
            while true {
                var number: Int32 = 0
                guard sigwait(&signals, &number) == 0 else { continue }
                handle(number, stop: stop, abandon: abandon)
            }
        }
    }

    /// The signals that stop a job, without those that are ignored.
    static var handled: sigset_t {
        var signals = sigset_t()
        sigemptyset(&signals)
        for number in [SIGINT, SIGTERM, SIGHUP] where !isIgnored(number) {
            sigaddset(&signals, number)
        }
        return signals
    }

    /// Whether a signal is ignored, as under `nohup` or after `&` in a script; it then stays
    /// ignored.
    private static func isIgnored(_ number: Int32) -> Bool {
        var action = sigaction()
        guard sigaction(number, nil, &action) == 0 else { return false }
        return unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self)
            == unsafeBitCast(SIG_IGN, to: Int.self)
    }

    private func handle(
        _ number: Int32,
        stop: () -> Bool,
        abandon: @escaping @Sendable () -> Void
    ) {
        if number == SIGHUP, let reload { return reload() }
        Self.lastReceived.withLock { $0 = number }
        let isFirst = first.withLock { first in
            defer { first = first ?? number }
            return first == nil
        }
        guard isFirst, stop() else { terminate(number, abandon) }
        Terminal.standardError.write(kind: .note, messages.stopping)
    }

    /// Exits the process, after half a second even if `abandon` has not returned.
    private func terminate(_ number: Int32, _ abandon: @escaping @Sendable () -> Void) -> Never {
        let done = DispatchSemaphore(value: 0)
        do throws(SwanError) {
            try startThread("swan.abandon") {
                abandon()
                UnfinishedFiles.remove()
                done.signal()
            }
            _ = done.wait(timeout: .now() + 0.5)
        } catch {
            abandon()
            UnfinishedFiles.remove()
        }
        Terminal.standardError.clear()
        Terminal.standardError.write(kind: .note, messages.abandoned)
        _exit(128 + number)
    }
}
