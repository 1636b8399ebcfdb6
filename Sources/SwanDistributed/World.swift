import Foundation
package import SwanSystem
package import Torch

/// All processes of a job: the store in which they meet, the group of all, and what became of them.
///
/// The first process that fails says why in the store. The others see it within a second, close
/// their groups and end too, with an error that names the rank and the reason.
package final class World: @unchecked Sendable {
    /// How long processes wait for each other.
    package struct Deadlines: Sendable {
        /// For all processes to start.
        package var start: Duration = .seconds(120)
        /// For one operation of a group.
        package var operation: Duration

        /// Creates deadlines.
        package init(operation: Duration) { self.operation = operation }
    }

    /// How this process was started.
    package let launch: Launch
    /// The processes.
    package let roster: Roster
    /// The group of all processes, for tensors on the CPU.
    package let group: ProcessGroup

    private let store: ProcessStore
    private let address: String
    private let device: Device
    private let deadlines: Deadlines
    private let watch: PeerWatch
    private let lock = NSLock()
    private var groups: [ProcessGroup]
    private var groupCount = 0

    /// Meets the other processes.
    ///
    /// - Parameter own: What this process says of itself; see `Roster.Entry`.
    package init(
        _ launch: Launch,
        _ own: Roster.Entry,
        _ deadlines: Deadlines,
        environment: [String: String] = ProcessInfo.processInfo.environment
    ) throws(SwanError) {
        self.launch = launch
        self.deadlines = deadlines
        device = try Device(named: own.device)
        let root = try Self.openStore(launch, deadlines)
        // Restarted processes must not see the keys of the previous ones.
        store = try root.part("swan/\(launch.restart)/")
        roster = try Roster.exchange(own, store, launch, deadline: deadlines.start)
        address = try OwnAddress.facing(
            launch.host,
            port: launch.port,
            interface: environment["GLOO_SOCKET_IFNAME"]
        )
        group = try ProcessGroup(
            store.part("world/"),
            rank: launch.rank,
            size: launch.size,
            address: address,
            deadline: deadlines.operation
        )
        groups = [group]
        watch = try PeerWatch(store.clone(), launch, roster)
        try watch.start { [weak self] in self?.abort() }
    }

    private static func openStore(
        _ launch: Launch,
        _ deadlines: Deadlines
    ) throws(SwanError) -> ProcessStore {
        guard launch.servesStore else {
            do throws(SwanError) {
                return try ProcessStore(
                    host: launch.host,
                    port: launch.port,
                    deadline: deadlines.start
                )
            } catch {
                throw SwanError(
                    error.code,
                    "cannot reach rank 0 at \(launch.host):\(launch.port); check MASTER_ADDR, "
                        + "MASTER_PORT and the firewall (\(error.message))",
                    cause: error
                )
            }
        }
        return try StoreService.open(
            launch.host,
            port: launch.port,
            isLocal: launch.isOnOneMachine,
            deadline: deadlines.start
        ).store
    }

    /// The number of this process.
    package var rank: Int { launch.rank }
    /// The number of processes.
    package var size: Int { launch.size }

    /// Makes a group of some ranks, for tensors on their devices; nil on ranks that are not among them.
    ///
    /// All processes of the world call this in the same order.
    package func makeGroup(_ ranks: [Int]) throws(SwanError) -> ProcessGroup? {
        groupCount += 1
        guard let own = ranks.firstIndex(of: rank) else { return nil }
        let group = try ProcessGroup(
            store.part("group/\(groupCount)-\(ranks[0])/"),
            rank: own,
            size: ranks.count,
            device: device,
            address: address,
            deadline: deadlines.operation
        )
        lock.withLock { groups.append(group) }
        return group
    }

    /// The failure of a peer, once one is known; for loops that wait for something else than a group.
    package var peerFailure: SwanError? { watch.peerFailure }

    /// Runs the work of this process, and waits for the others to have done theirs, which may take
    /// any time.
    ///
    /// If it fails, tells the others why; if others failed, throws
    /// their reason.
    package func run<Result>(_ body: () throws -> Result) throws -> Result {
        do {
            let result = try body()
            try Farewell(
                store: store,
                launch: launch,
                roster: roster,
                watch: watch,
                patience: deadlines.operation
            ).wait()
            return result
        } catch {
            let reason = watch.reason(of: error)
            abort()
            throw reason
        }
    }

    private func abort() {
        for group in lock.withLock({ groups }) { group.abort() }
    }
}
