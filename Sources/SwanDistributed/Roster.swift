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
        return "rank \(rank) (\(entry.host), process \(entry.process))"
    }

    /// Exchanges introductions by the store.
    ///
    /// - Throws: `peersDiffer` with the first difference and both values; `peerFailed` naming the
    ///   ranks that did not come before the deadline.
    static func exchange(
        _ own: Entry,
        _ store: ProcessStore,
        _ launch: Launch,
        deadline: Duration
    ) throws(SwanError) -> Roster {
        try store.set("roster/\(launch.rank)", own.text())
        let end = ContinuousClock.now + deadline
        var entries: [Entry] = []
        for rank in 0..<launch.size {
            do throws(SwanError) {
                let left = max(.milliseconds(1), end - .now)
                let text = try store.get("roster/\(rank)", within: left)
                entries.append(try Entry(text))
            } catch {
                throw missing(from: rank, store, launch, deadline) ?? error
            }
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

    private static func missing(
        from first: Int,
        _ store: ProcessStore,
        _ launch: Launch,
        _ deadline: Duration
    ) -> SwanError? {
        let absent = (first..<launch.size).filter { rank in
            (try? store.contains("roster/\(rank)")) == false
        }
        guard !absent.isEmpty else { return nil }
        let names = absent.map(String.init).joined(separator: ", ")
        return SwanError(
            .peerFailed,
            "rank \(names) of \(launch.size) did not start within \(Int(deadline.seconds)) s"
        )
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
