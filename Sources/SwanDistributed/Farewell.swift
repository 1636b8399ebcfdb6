import Foundation
import SwanSystem
import Torch

/// The end of a job: a process leaves when all are done, and the one that serves the store last.
///
/// Processes wait through the store and without a deadline, because one rank may decode and write a
/// file for long after the others have finished. They wait for a rank only as long as it lives.
struct Farewell: Sendable {
    let store: ProcessStore
    let launch: Launch
    let roster: Roster
    let watch: PeerWatch
    /// How long a rank may stand still.
    let patience: Duration

    private static let intervals = 0.002...0.2
    /// How long the store stays for those who have not left.
    private static let longestStay = Duration.seconds(5)

    /// Returns when all processes have come here.
    func wait() throws(SwanError) {
        do throws(SwanError) {
            try store.add("done", 1)
            try waitForAll()
        } catch {
            throw watch.peerFailure ?? error
        }
        watch.stop()
        try leave()
    }

    private func waitForAll() throws(SwanError) {
        var interval = Self.intervals.lowerBound
        var counts = [Int](repeating: 0, count: launch.size)
        var changes = counts.map { _ in ContinuousClock.now }
        while true {
            guard let seen = answer(within: patience.seconds, { look() }) else {
                throw SwanError(.peerFailed, "\(watch.server) does not answer")
            }
            let (done, newCounts) = try seen.get()
            guard done < launch.size else { return }
            if let failure = watch.peerFailure { throw failure }
            for rank in counts.indices where counts[rank] != newCounts[rank] {
                (counts[rank], changes[rank]) = (newCounts[rank], .now)
            }
            if let still = changes.firstIndex(where: { .now - $0 > patience }) {
                throw SwanError(.peerFailed, "\(roster.name(still)) does not answer")
            }
            Thread.sleep(forTimeInterval: interval)
            interval = min(2 * interval, Self.intervals.upperBound)
        }
    }

    /// How many processes are done, and how often each has counted.
    private func look() -> Result<(done: Int, counts: [Int]), SwanError> {
        Result { () throws(SwanError) in
            (try store.add("done", 0), try AliveCounts.read(store, launch.size))
        }
    }

    private func leave() throws(SwanError) {
        var left = try store.add("left", 1)
        let end = ContinuousClock.now + Self.longestStay
        while launch.servesStore, left < launch.size, .now < end {
            Thread.sleep(forTimeInterval: 0.005)
            left = try store.add("left", 0)
        }
    }
}
