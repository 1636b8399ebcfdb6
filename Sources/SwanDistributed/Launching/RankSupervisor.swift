import Foundation
package import SwanSystem

/// Waits for the ranks of this machine, passes signals on to them, and ends all when one has failed.
package final class RankSupervisor {
    /// How a rank ended.
    package struct Ending: Sendable, Equatable {
        /// The number of the rank in the job.
        package let rank: Int
        /// Its process number.
        package let process: Int32
        /// How it ended.
        package let end: RankProcess.End
    }

    /// How the ranks ended.
    package struct Outcome: Sendable, Equatable {
        /// The rank whose failure ended the others; nil if there was none.
        package var failure: Ending?
        /// How rank 0 ended, if that was here and with an error.
        package var first: Ending?
        /// The first signal that was passed on.
        package var signal: Int32?
        /// The ranks that had to be killed, because they did not end.
        package var killed: [Int] = []

        /// The exit status of the whole.
        package var status: Int32 { failure?.end.status ?? 0 }
    }

    /// How long ranks have to hear of a failure and to end by themselves, and to end after SIGTERM.
    package struct Patience: Sendable {
        /// To hear of it.
        package var hearing = Duration.seconds(5)
        /// To end after SIGTERM.
        package var ending = Duration.seconds(10)

        /// The usual patience.
        package init() {}
    }

    private let firstRank: Int
    private let patience: Patience
    private var running: [Int: RankProcess]
    private var outcome = Outcome()
    /// When a rank failed, and when the others were told to end.
    private var failedAt: ContinuousClock.Instant?
    private var endedAt: ContinuousClock.Instant?
    private static let signals = [SIGINT, SIGTERM, SIGHUP]

    /// Blocks the signals that `run` passes on; called before any thread is started.
    package static func holdSignals() {
        var set = signalSet()
        pthread_sigmask(SIG_BLOCK, &set, nil)
    }

    /// Those of the signals that are not ignored, as SIGHUP is under `nohup`, and a child's end.
    private static func signalSet() -> sigset_t {
        var set = sigset_t()
        sigemptyset(&set)
        sigaddset(&set, SIGCHLD)
        for number in signals {
            var action = sigaction()
            let isKnown = sigaction(number, nil, &action) == 0
            let handler = unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self)
            guard isKnown, handler == unsafeBitCast(SIG_IGN, to: Int.self) else {
                sigaddset(&set, number)
                continue
            }
        }
        return set
    }

    /// Supervises processes.
    ///
    /// - Parameter firstRank: The rank of the first of them.
    package init(_ processes: [RankProcess], firstRank: Int, patience: Patience = Patience()) {
        self.firstRank = firstRank
        self.patience = patience
        running = Dictionary(uniqueKeysWithValues: processes.enumerated().map { ($0, $1) })
    }

    /// Waits until all processes have ended.
    package func run() -> Outcome {
        let set = Self.signalSet()
        while !running.isEmpty {
            let number = PendingSignal.next(of: set, within: 0.1)
            if let number, Self.signals.contains(number) { pass(number) }
            collect()
            if !running.isEmpty { hurry() }
        }
        return outcome
    }

    private func pass(_ number: Int32) {
        outcome.signal = outcome.signal ?? number
        for process in running.values { process.send(number) }
    }

    private func collect() {
        for (index, process) in running.sorted(by: { $0.key < $1.key }) {
            guard let end = process.end() else { continue }
            running[index] = nil
            guard end != .exited(0) else { continue }
            note(Ending(rank: firstRank + index, process: process.number, end: end))
        }
    }

    /// Remembers the failure that the others followed from: ranks that hear of one exit with 75, and
    /// may end before the one that failed.
    private func note(_ ending: Ending) {
        if ending.rank == 0 { outcome.first = ending }
        let isStopped = outcome.signal.map { ending.end.status == 128 + $0 } ?? false
        // Rank 0 leaves last.
        if !isStopped || ending.rank == 0 { failedAt = failedAt ?? .now }
        let isConsequence = ending.end == .exited(EX_TEMPFAIL) || endedAt != nil
        let isKnownConsequence = outcome.failure?.end == .exited(EX_TEMPFAIL)
        if outcome.failure == nil || (isKnownConsequence && !isConsequence) {
            outcome.failure = ending
        }
    }

    /// Ends ranks that have not ended in time after a failure.
    private func hurry() {
        if let endedAt {
            guard .now - endedAt > patience.ending, outcome.killed.isEmpty else { return }
            outcome.killed = running.keys.sorted().map { firstRank + $0 }
            for process in running.values { process.send(SIGKILL) }
        } else if let failedAt, .now - failedAt > patience.hearing {
            endedAt = .now
            for process in running.values { process.send(SIGTERM) }
        }
    }
}
