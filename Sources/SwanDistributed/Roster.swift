import Foundation
import SwanSystem
import Torch

/// The processes of a job, as each has introduced itself.
package struct Roster: Sendable, Codable {
    /// What a process says of itself.
    package struct Entry: Sendable, Codable, Equatable {
        /// The name of its machine.
        package var host: String
        /// Its number there.
        package var process: Int32
        /// The device that it computes on.
        package var device: String
        /// What must be the same in all processes, by name: the version, digests of the model and
        /// the options.
        package var agreed: [String: String]

        /// Describes this process.
        package init(device: String, agreed: [String: String]) {
            host = ProcessInfo.processInfo.hostName
            process = getpid()
            self.device = device
            self.agreed = agreed
        }

        /// Where the process is, for messages.
        fileprivate var place: String { "\(host), process \(process)" }

        fileprivate init(_ text: String) throws(SwanError) {
            do {
                self = try JSONDecoder().decode(Entry.self, from: Data(text.utf8))
            } catch {
                throw SwanError(
                    .peersDiffer,
                    "a rank introduced itself in another way",
                    cause: error
                )
            }
        }

        fileprivate func text() throws(SwanError) -> String {
            do {
                return String(decoding: try JSONEncoder().encode(self), as: UTF8.self)
            } catch {
                throw SwanError(.libraryFailed, "cannot encode a roster entry", cause: error)
            }
        }
    }

    /// The processes in the order of ranks.
    package let entries: [Entry]

    /// Names a rank for messages.
    package func name(_ rank: Int) -> String {
        guard let entry = entries[safe: rank] else { return "rank \(rank)" }
        return "rank \(rank) (\(entry.place))"
    }

    /// Exchanges introductions by the store.
    ///
    /// - Throws: `peersDiffer` with the first difference and both values, or naming two processes
    ///   of the same rank; `peerFailed` naming the ranks that did not come before the deadline.
    static func exchange(
        _ own: Entry,
        _ store: ProcessStore,
        _ launch: Launch,
        deadline: Duration
    ) throws(SwanError) -> Roster {
        try requireSize(store, launch)
        try introduce(own, store, launch)
        let end = ContinuousClock.now + deadline
        var entries: [Entry] = []
        for rank in 0..<launch.size {
            guard let other = try entry(of: rank, store, launch, until: end) else {
                throw try missing(store, launch, deadline)
            }
            entries.append(other)
        }
        let roster = Roster(entries: entries)
        // The store ends with rank 0, so it stays until all have read what may end it.
        var readers = try store.add("roster/readers", 1)
        while launch.rank == 0, readers < launch.size, ContinuousClock.now < end {
            Thread.sleep(forTimeInterval: 0.01)
            readers = try store.add("roster/readers", 0)
        }
        try roster.requireAgreement()
        return roster
    }

    /// Throws `peersDiffer` if another process belongs to a job of another size; the others throw it
    /// too if they still wait.
    private static func requireSize(
        _ store: ProcessStore,
        _ launch: Launch
    ) throws(SwanError) {
        guard try store.add("roster/sizes", 1) > 1 else {
            return try store.set("roster/size", "\(launch.rank) \(launch.size)")
        }
        let parts = try store.get("roster/size", within: .seconds(5)).split(separator: " ")
        guard parts.count == 2, parts[1] != "\(launch.size)" else { return }
        let text =
            "rank \(launch.rank) belongs to \(launch.size) ranks, but rank \(parts[0]) to \(parts[1]): "
            + "give all processes the same WORLD_SIZE, or all launchers the same --nproc and --nnodes"
        try store.set("roster/twins", text)
        if launch.servesStore { Thread.sleep(forTimeInterval: 1) }
        throw SwanError(.peersDiffer, text)
    }

    /// Writes this process's introduction.
    ///
    /// - Throws: `peersDiffer` if another process has done so with the same rank; the others throw
    ///   it too if they still wait.
    private static func introduce(
        _ own: Entry,
        _ store: ProcessStore,
        _ launch: Launch
    ) throws(SwanError) {
        let rank = launch.rank
        guard try store.add("roster/claims/\(rank)", 1) > 1 else {
            return try store.set("roster/\(rank)", own.text())
        }
        let other = try entry(of: rank, store, launch, until: .now + .seconds(2))
        let text =
            "two processes have rank \(rank): \(other?.place ?? "another one") and \(own.place); "
            + "give each process a RANK or --node-rank of its own"
        try store.set("roster/twins", text)
        if launch.servesStore { Thread.sleep(forTimeInterval: 1) }
        throw SwanError(.peersDiffer, text)
    }

    /// The introduction of a rank; nil if it has not come by then.
    private static func entry(
        of rank: Int,
        _ store: ProcessStore,
        _ launch: Launch,
        until end: ContinuousClock.Instant
    ) throws(SwanError) -> Entry? {
        while try !store.contains("roster/\(rank)") {
            if try store.contains("roster/missing") {
                throw SwanError(.peerFailed, try store.get("roster/missing", within: .seconds(1)))
            }
            if try store.contains("roster/twins") {
                let text = try store.get("roster/twins", within: .seconds(1))
                if launch.servesStore { Thread.sleep(forTimeInterval: 1) }
                throw SwanError(.peersDiffer, text)
            }
            guard .now < end else { return nil }
            Thread.sleep(forTimeInterval: 0.02)
        }
        return try Entry(store.get("roster/\(rank)", within: .seconds(1)))
    }

    /// An error that names the ranks that have not come. The process that serves the store stays
    /// until the others have read it.
    private static func missing(
        _ store: ProcessStore,
        _ launch: Launch,
        _ deadline: Duration
    ) throws(SwanError) -> SwanError {
        var absent: [Int] = []
        for rank in 0..<launch.size {
            let hasCome = try store.contains("roster/\(rank)")
            if !hasCome { absent.append(rank) }
        }
        let names = absent.map(String.init).joined(separator: ", ")
        let text =
            "rank \(names) of \(launch.size) did not start within \(Int(deadline.seconds)) s"
        try store.set("roster/missing", text)
        if launch.servesStore { Thread.sleep(forTimeInterval: 1) }
        return SwanError(.peerFailed, text)
    }

    private func requireAgreement() throws(SwanError) {
        guard let first = entries.first else { return }
        for (rank, entry) in entries.enumerated() {
            let names = Set(first.agreed.keys).union(entry.agreed.keys).sorted()
            for name in names where first.agreed[name] != entry.agreed[name] {
                throw SwanError(
                    .peersDiffer,
                    "\(name) differs: \(first.agreed[name] ?? "none") on \(self.name(0)), "
                        + "\(entry.agreed[name] ?? "none") on \(self.name(rank)); start all ranks "
                        + "with the same program, model and options"
                )
            }
        }
    }
}
