import Dispatch
import Foundation
import SwanSystem
import Synchronization

/// Ctrl-C, SIGTERM and a terminal that is closed: the first asks a job to stop, the second ends the process at once.
final class StopSignals: Sendable {
    /// What is said after the first signal, and when the process ends at once.
    struct Words: Sendable {
        var stopping =
            "stopping; the output is completed with what is done (once more to give it up)"
        var ended = "stopped; the unfinished output was given up"
    }

    private let first = Mutex<Int32?>(nil)
    private let words: Words

    /// The exit code that tells of the signal; nil if there was none.
    var exitCode: Int32? { first.withLock { $0 }.map { 128 + $0 } }

    /// Takes the signals over. To be called before other threads are made, which then inherit that.
    ///
    /// - Parameters:
    ///   - stop: asks the job to end; false if there is nothing to keep, so that the process ends.
    ///   - abandon: called before the process ends, to leave nothing half-written.
    init(
        _ words: Words = Words(),
        stop: @escaping @Sendable () -> Bool,
        abandon: @escaping @Sendable () -> Void
    ) throws(SystemError) {
        self.words = words
        var signals = sigset_t()
        sigemptyset(&signals)
        for number in [SIGINT, SIGTERM, SIGHUP] where !Self.isIgnored(number) {
            sigaddset(&signals, number)
        }
        // Blocked, they wait for the thread below instead of being handled or lost.
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        try startThread("swan.signals") { [self, signals] in
            var signals = signals
            while true {
                var number: Int32 = 0
                guard sigwait(&signals, &number) == 0 else { continue }
                take(number, stop: stop, abandon: abandon)
            }
        }
    }

    /// Whether a signal is ignored, as `nohup` and a script's `&` have it; it stays so.
    private static func isIgnored(_ number: Int32) -> Bool {
        var action = sigaction()
        guard sigaction(number, nil, &action) == 0 else { return false }
        return unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self)
            == unsafeBitCast(SIG_IGN, to: Int.self)
    }

    private func take(
        _ number: Int32,
        stop: () -> Bool,
        abandon: @escaping @Sendable () -> Void
    ) {
        let isFirst = first.withLock { first in
            defer { first = first ?? number }
            return first == nil
        }
        guard isFirst, stop() else { end(number, abandon) }
        Terminal.standardError.write(kind: .note, words.stopping)
    }

    /// Ends the process, after half a second even if the output cannot be given up.
    private func end(_ number: Int32, _ abandon: @escaping @Sendable () -> Void) -> Never {
        let done = DispatchSemaphore(value: 0)
        do throws(SystemError) {
            try startThread("swan.abandon") {
                abandon()
                done.signal()
            }
            _ = done.wait(timeout: .now() + 0.5)
        } catch {
            abandon()
        }
        Terminal.standardError.clear()
        Terminal.standardError.write(kind: .note, words.ended)
        _exit(128 + number)
    }
}
