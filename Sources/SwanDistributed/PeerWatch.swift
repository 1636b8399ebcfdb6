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

    private func stop() {
        condition.withLock {
            isStopped = true
            condition.broadcast()
        }
    }

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
        if found != nil { onFailure() }
        return goesOn
    }

    private func look() -> SwanError? {
        do throws(SwanError) {
            try store.add("alive/\(launch.rank)", 1)
            guard try store.contains("failed") else { return nil }
            return try failureInStore()
        } catch {
            return SwanError(
                .peerFailed,
                "\(roster.name(0)) has ended: its store is gone",
                cause: error
            )
        }
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

    /// Ends the watch after the last words of all processes.
    func finish(_ barrier: () throws(SwanError) -> Void) throws(SwanError) {
        try barrier()
        stop()
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
        let still = answer(within: Self.patience + 0.4) { self.stillRanks() } ?? [0]
        if let failure = condition.withLock({ failure }) { return failure }
        guard !still.isEmpty else { return own }
        let told = "\(still.map(roster.name).joined(separator: ", ")) does not answer"
        tell(told)
        return SwanError(.peerFailed, "\(told) (\(own.message))", cause: own)
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
        if isTold == true, launch.rank == 0 { Thread.sleep(forTimeInterval: 3 * Self.interval) }
    }

    /// The ranks whose counts do not change.
    private func stillRanks() -> [Int] {
        guard let own = try? store.clone() else { return [0] }
        func counts() -> [Int?] {
            (0..<launch.size).map { try? own.add("alive/\($0)", 0) }
        }
        let before = counts()
        Thread.sleep(forTimeInterval: Self.patience)
        let after = counts()
        return (0..<launch.size).filter { $0 != launch.rank && before[$0] == after[$0] }
    }

    /// The result of a conversation with the store; nil if it takes too long, as with a stopped
    /// process, which the store's own functions would wait for without end.
    private func answer<Result: Sendable>(
        within seconds: Double,
        _ body: @escaping @Sendable () -> Result
    ) -> Result? {
        let answer = Answer<Result>()
        do throws(SwanError) {
            try startThread("swan.answer") { answer.set(body()) }
        } catch {
            return nil
        }
        return answer.wait(seconds)
    }
}

/// A value that another thread may deliver.
private final class Answer<Value: Sendable>: @unchecked Sendable {
    private let condition = NSCondition()
    private var value: Value?

    func set(_ value: Value) {
        condition.withLock {
            self.value = value
            condition.broadcast()
        }
    }

    /// Waits for the value; nil if it does not come.
    func wait(_ seconds: Double) -> Value? {
        let end = Date(timeIntervalSinceNow: seconds)
        return condition.withLock {
            while value == nil, condition.wait(until: end) {}
            return value
        }
    }
}
