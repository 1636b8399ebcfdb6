import Foundation
import SwanSystem
import Torch

/// Watches the other processes through the store: who failed and why, and who stands still.
///
/// A thread counts up this process's key each second and reads whether a peer has failed.
final class PeerWatch: @unchecked Sendable {
    private static let interval = 0.3
    /// A process whose count has not changed for so long stands still.
    private static let patience = 1.2
    /// How long the process that serves the store stays for its peers to read a reason.
    private static let stay = 1.0

    private let store: ProcessStore
    private let launch: Launch
    private let roster: Roster
    private let condition = NSCondition()
    private var isStopped = false
    /// Whether this process has counted itself among those that know the reason.
    private var hasHeard = false
    /// The failure of a peer.
    private var failure: SwanError?
    private var stopRequest: (@Sendable (Int32) -> Void)?
    /// Used by the thread alone.
    private var stillness: Stillness

    init(_ store: ProcessStore, _ launch: Launch, _ roster: Roster) throws(SwanError) {
        self.store = store
        self.launch = launch
        self.roster = roster
        // The first rank sees all others, and they see it.
        let watched = launch.rank == 0 ? Array(1..<max(1, launch.size)) : [0]
        stillness = Stillness(ranks: watched)
    }

    deinit { stop() }

    /// Starts the thread.
    ///
    /// - Parameter onFailure: Called once when a peer has failed.
    func start(onFailure: @escaping @Sendable () -> Void) throws(SwanError) {
        try startThread("swan.peers") { [weak self] in
            while self?.step(onFailure) == true {}
        }
    }

    /// Ends the watch.
    func stop() {
        condition.withLock {
            isStopped = true
            condition.broadcast()
        }
    }

    /// The failure of a peer that was found so far.
    var peerFailure: SwanError? { condition.withLock { failure } }

    /// Looks once, and waits; returns whether to go on.
    private func step(_ onFailure: () -> Void) -> Bool {
        let found = look()
        let goesOn = condition.withLock {
            if isStopped { return false }
            failure = failure ?? found
            if failure == nil {
                _ = condition.wait(until: Date(timeIntervalSinceNow: Self.interval))
            }
            return failure == nil && !isStopped
        }
        if peerFailure != nil { onFailure() }
        return goesOn
    }

    private func look() -> SwanError? {
        do throws(SwanError) {
            try AliveCounts.increase(store, launch.rank)
            if try store.contains("failed") { return try failureInStore() }
            try passStopRequest()
            return try findStill()
        } catch {
            return SwanError(.peerFailed, "\(server) has ended: its store is gone", cause: error)
        }
    }

    /// A peer that has stood still for too long, which is told to the others.
    private func findStill() throws(SwanError) -> SwanError? {
        let still = try stillness.check { rank throws(SwanError) in
            try store.add(AliveCounts.key(rank), 0)
        }
        guard let still else { return nil }
        let what = "\(roster.name(still)) does not answer"
        tell(what, without: 1)
        return SwanError(.peerFailed, what)
    }

    // MARK: - Stopping

    /// Asks rank 0 to stop the job, as a signal would.
    func requestStop(_ signal: Int32) throws(SwanError) {
        try store.clone().set("stop", "\(signal)")
    }

    /// Calls `body` once, with the signal, when a rank has asked to stop the job.
    func onStopRequest(_ body: @escaping @Sendable (Int32) -> Void) {
        condition.withLock { stopRequest = body }
    }

    private func passStopRequest() throws(SwanError) {
        guard condition.withLock({ stopRequest != nil }), try store.contains("stop") else { return }
        let body = condition.withLock {
            defer { stopRequest = nil }
            return stopRequest
        }
        let signal = Int32(try store.get("stop", within: .seconds(1)))
        body?(signal ?? SIGTERM)
    }

    // MARK: - Reasons

    /// The process that serves the store, for messages.
    var server: String {
        launch.isServedByLauncher ? "the launcher on \(launch.host)" : roster.name(0)
    }

    private func failureInStore() throws(SwanError) -> SwanError? {
        let parts = try store.get("failed", within: .seconds(1)).split(
            separator: "\n",
            maxSplits: 1
        )
        let rank = parts.first.flatMap { Int($0) } ?? 0
        // This process has told the others itself, and is about to end.
        guard rank != launch.rank else { return nil }
        try hear(store)
        let reason = parts.dropFirst().first.map(String.init) ?? "no reason given"
        return SwanError(.peerFailed, "\(roster.name(rank)) failed: \(reason)")
    }

    /// The reason to give for an error of this process: a peer's, if a peer failed first.
    ///
    /// Other errors are told to the peers.
    func reason(of error: any Error) -> any Error {
        defer {
            stayForListeners()
            stop()
        }
        if let failure = condition.withLock({ failure }) { return failure }
        guard let own = error as? SwanError, own.code == .peerFailed else {
            tell("\(error)")
            return error
        }
        // Connections break before the peer's reason has arrived, which is read meanwhile.
        let still = answer(within: Self.patience + 0.4) { self.stillRanks() } ?? nil
        if let failure = condition.withLock({ failure }) { return failure }
        guard let still else {
            // Nobody can be told.
            return SwanError(
                .peerFailed,
                "\(server) does not answer (\(own.message))",
                cause: own
            )
        }
        let names = still.map(roster.name).joined(separator: ", ")
        let what =
            still.isEmpty ? "it has lost its peers, which still run" : "\(names) does not answer"
        tell(what, without: still.count)
        return SwanError(.peerFailed, "\(what) (\(own.message))", cause: own)
    }

    /// Tells the peers of an error that is about to end this process, if it is not one of theirs.
    func announce(_ error: any Error) {
        guard peerFailure == nil, (error as? SwanError)?.code != .peerFailed else { return }
        tell("\(error)")
    }

    /// Tells the peers why this process ends; the first reason stays.
    ///
    /// - Parameter deaf: The number of peers that cannot hear it.
    private func tell(_ reason: String, without deaf: Int = 0) {
        _ = answer(within: 1) { [self] in
            do throws(SwanError) {
                let own = try store.clone()
                try hear(own)
                guard try own.add("failures", 1) == 1 else { return }
                try own.add("heard", deaf)
                try own.set("failed", "\(launch.rank)\n\(reason.printable(limit: 2_000))")
            } catch {
                // The store is gone, which is all that peers can learn.
            }
        }
    }

    /// Counts this process among those that know the reason.
    private func hear(_ store: ProcessStore) throws(SwanError) {
        let isFirst = condition.withLock {
            defer { hasHeard = true }
            return !hasHeard
        }
        if isFirst, !launch.servesStore { try store.add("heard", 1) }
    }

    /// The store ends with the process that serves it, which therefore waits for those that hear.
    private func stayForListeners() {
        guard launch.servesStore else { return }
        _ = answer(within: Self.stay) { [store, launch] in
            do throws(SwanError) {
                let own = try store.clone()
                while try own.add("heard", 0) < launch.size - 1 {
                    Thread.sleep(forTimeInterval: 0.02)
                }
            } catch {
                // The process ends in any case.
            }
        }
    }

    /// The ranks whose counts do not change; nil if the store is gone.
    private func stillRanks() -> [Int]? {
        do throws(SwanError) {
            let own = try store.clone()
            let before = try AliveCounts.read(own, launch.size)
            Thread.sleep(forTimeInterval: Self.patience)
            let after = try AliveCounts.read(own, launch.size)
            return (0..<launch.size).filter { $0 != launch.rank && before[$0] == after[$0] }
        } catch {
            // That it is gone is the answer.
            return nil
        }
    }
}

/// How often each process has counted, by which the others see that it lives.
enum AliveCounts {
    /// Counts up that of one rank.
    static func increase(_ store: ProcessStore, _ rank: Int) throws(SwanError) {
        try store.add(key(rank), 1)
    }

    /// Where a rank counts.
    static func key(_ rank: Int) -> String { "alive/\(rank)" }

    /// The counts of all ranks.
    static func read(_ store: ProcessStore, _ size: Int) throws(SwanError) -> [Int] {
        try (0..<size).map { rank throws(SwanError) in try store.add(key(rank), 0) }
    }
}
