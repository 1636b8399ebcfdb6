import Foundation
import SwanSystem
import Torch

/// Watches the other processes through the store: who failed and why, and who stands still.
///
/// A thread counts up this process's key each second and reads whether a peer has failed.
final class PeerWatch: @unchecked Sendable {
    private static let interval = 0.5
    /// A process whose count has not changed for so long stands still.
    private static let patience = 1.4

    private let store: ProcessStore
    private let launch: Launch
    private let roster: Roster
    private let condition = NSCondition()
    private var isStopped = false
    /// The failure of a peer.
    private var failure: SwanError?

    init(_ store: ProcessStore, _ launch: Launch, _ roster: Roster) throws(SwanError) {
        self.store = store
        self.launch = launch
        self.roster = roster
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
            guard try store.contains("failed") else { return nil }
            return try failureInStore()
        } catch {
            return SwanError(.peerFailed, "\(server) has ended: its store is gone", cause: error)
        }
    }

    /// The process that serves the store, for messages.
    var server: String {
        launch.isServedByLauncher ? "the launcher on \(launch.host)" : roster.name(0)
    }

    private func failureInStore() throws(SwanError) -> SwanError {
        let parts = try store.get("failed", within: .seconds(1)).split(
            separator: "\n",
            maxSplits: 1
        )
        let rank = parts.first.flatMap { Int($0) } ?? 0
        let reason = parts.dropFirst().first.map(String.init) ?? "no reason given"
        return SwanError(.peerFailed, "\(roster.name(rank)) failed: \(reason)")
    }

    /// The reason to give for an error of this process: a peer's, if a peer failed first.
    ///
    /// Other errors are told to the peers.
    func reason(of error: any Error) -> any Error {
        defer { stop() }
        if let failure = condition.withLock({ failure }) { return failure }
        guard let own = error as? SwanError, own.code == .peerFailed else {
            tell("\(error)")
            return error
        }
        // Connections break before the peer's reason has arrived, which is read meanwhile.
        let still = answer(within: Self.patience + 0.4) { self.stillRanks() } ?? nil
        if let failure = condition.withLock({ failure }) { return failure }
        guard let still else { return lost("\(server) does not answer", own) }
        guard !still.isEmpty else { return lost("it has lost its peers, which still run", own) }
        return lost("\(still.map(roster.name).joined(separator: ", ")) does not answer", own)
    }

    /// Tells the peers what this process has found, and returns it as an error.
    private func lost(_ what: String, _ own: SwanError) -> SwanError {
        tell(what)
        return SwanError(.peerFailed, "\(what) (\(own.message))", cause: own)
    }

    /// Tells the peers why this process ends; the first reason stays.
    private func tell(_ reason: String) {
        let isTold = answer(within: 1) { [store, launch] in
            do throws(SwanError) {
                let own = try store.clone()
                guard try own.add("failures", 1) == 1 else { return false }
                try own.set("failed", "\(launch.rank)\n\(reason.printable(limit: 2_000))")
                return true
            } catch {
                // The store is gone, which is all that peers can learn.
                return false
            }
        }
        // The store ends with the process that serves it, so the others need time to read.
        if isTold == true, launch.servesStore { Thread.sleep(forTimeInterval: 3 * Self.interval) }
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
        try store.add("alive/\(rank)", 1)
    }

    /// The counts of all ranks.
    static func read(_ store: ProcessStore, _ size: Int) throws(SwanError) -> [Int] {
        try (0..<size).map { rank throws(SwanError) in try store.add("alive/\(rank)", 0) }
    }
}
