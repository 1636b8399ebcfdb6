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

    /// What names the job across restarts by its launcher; nil if nothing does, and on ranks other
    /// than 0.
    package let job: String?

    private let store: ProcessStore
    private let address: String
    private let device: Device
    private let deadlines: Deadlines
    private let watch: PeerWatch
    private let lock = NSLock()
    private var groups: [ProcessGroup]
    private var groupCount = 0
    /// Why this process ends, once asked for.
    private var ownReason: (any Error)?

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
        let store = try root.part("swan/\(launch.restart)/")
        let roster = try Self.bounded(deadlines.start + .seconds(3), "the store does not answer") {
            () throws(SwanError) in
            try Roster.exchange(own, store, launch, deadline: deadlines.start)
        }
        job = try JobName.find(in: root, launch, environment)
        let watch = try PeerWatch(store.clone(), launch, roster)
        do throws(SwanError) {
            address = try OwnAddress.facing(
                launch.host,
                port: launch.port,
                interface: environment["GLOO_SOCKET_IFNAME"]
            )
            group = try Self.openGroup(
                store.part("world/"),
                launch.rank,
                launch.size,
                .cpu,
                address,
                deadlines.operation,
                watch
            )
        } catch {
            throw watch.reason(of: error) as? SwanError ?? error
        }
        (self.store, self.roster, self.watch) = (store, roster, watch)
        groups = [group]
        try watch.start { [weak self] in self?.abort() }
    }

    /// Connects to the peers, as long as none is known to have failed. The library itself may wait for
    /// several times the deadline.
    private static func openGroup(
        _ store: ProcessStore,
        _ rank: Int,
        _ size: Int,
        _ device: Device,
        _ address: String,
        _ deadline: Duration,
        _ watch: PeerWatch
    ) throws(SwanError) -> ProcessGroup {
        let message =
            "cannot connect to all peers from \(address); check the firewall, or choose the network with "
            + "GLOO_SOCKET_IFNAME"
        do throws(SwanError) {
            let limit = deadline + .seconds(1)
            return try bounded(limit, message, watch) { () throws(SwanError) in
                try ProcessGroup(
                    store,
                    rank: rank,
                    size: size,
                    device: device,
                    address: address,
                    deadline: deadline
                )
            }
        } catch {
            guard error.code == .peerFailed, error.message != message else { throw error }
            if let failure = watch.peerFailure { throw failure }
            throw SwanError(.peerFailed, "\(message) (\(error.message))", cause: error)
        }
    }

    /// The result of a call of the library that may not return; `peerFailed` if it takes too long.
    private static func bounded<Result: Sendable>(
        _ limit: Duration,
        _ message: String,
        _ watch: PeerWatch? = nil,
        _ body: @escaping @Sendable () throws(SwanError) -> Result
    ) throws(SwanError) -> Result {
        let result = answer(within: limit.seconds, unless: { watch?.peerFailure != nil }) {
            Swift.Result { () throws(SwanError) in try body() }
        }
        guard let result else {
            throw watch?.peerFailure ?? SwanError(.peerFailed, message)
        }
        return try result.get()
    }

    private static func openStore(
        _ launch: Launch,
        _ deadlines: Deadlines
    ) throws(SwanError) -> ProcessStore {
        guard launch.servesStore else { return try reachStore(launch, deadlines.start) }
        return try StoreService.open(
            launch.host,
            port: launch.port,
            isLocal: launch.isOnOneMachine,
            deadline: deadlines.start
        ).store
    }

    private static func reachStore(
        _ launch: Launch,
        _ deadline: Duration
    ) throws(SwanError) -> ProcessStore {
        let end = ContinuousClock.now + deadline
        do throws(SwanError) {
            try Reachability.wait(launch.host, port: launch.port, until: end)
            let left = max(.seconds(1), end - .now)
            return try bounded(left, "it does not answer as a rank 0 would") {
                () throws(SwanError) in
                try ProcessStore(host: launch.host, port: launch.port, deadline: left)
            }
        } catch {
            throw SwanError(
                error.code,
                "cannot reach rank 0 at \(launch.host):\(launch.port); check MASTER_ADDR, "
                    + "MASTER_PORT and the firewall (\(error.message))",
                cause: error
            )
        }
    }

    /// The number of this process.
    package var rank: Int { launch.rank }
    /// The number of processes.
    package var size: Int { launch.size }

    /// Makes a group of some ranks, for tensors on their devices; nil on ranks that are not among them.
    ///
    /// All processes of the world call this in the same order.
    ///
    /// - Parameters:
    ///   - chosen: The device of the tensors; nil for that of each rank.
    ///   - deadline: The longest that an operation may take; nil for that of the world.
    /// - Throws: `deviceUnavailable` on all ranks if the group needs NCCL and ranks share a GPU.
    package func makeGroup(
        _ ranks: [Int],
        on chosen: Device? = nil,
        deadline: Duration? = nil
    ) throws(SwanError) -> ProcessGroup? {
        if chosen != .cpu { try roster.requireOwnGPUs(ranks) }
        groupCount += 1
        guard let own = ranks.firstIndex(of: rank) else { return nil }
        let group = try Self.openGroup(
            store.part("group/\(groupCount)-\(ranks[0])/"),
            own,
            ranks.count,
            chosen ?? device,
            address,
            deadline ?? deadlines.operation,
            watch
        )
        lock.withLock { groups.append(group) }
        return group
    }

    /// The failure of a peer, once one is known; for loops that wait for something else than a group.
    package var peerFailure: SwanError? { watch.peerFailure }

    /// Tells the peers of an error that is about to end the work of this process.
    ///
    /// For work that closes groups before it returns to `run`: peers whose connections break find
    /// the reason.
    package func announce(_ error: any Error) { watch.announce(error) }

    /// Asks rank 0, from another rank, to stop the job as a signal would.
    package func requestStop(_ signal: Int32) throws(SwanError) { try watch.requestStop(signal) }

    /// Calls `body` with the signal, on rank 0, when another rank has asked to stop the job.
    package func onStopRequest(_ body: @escaping @Sendable (Int32) -> Void) {
        watch.onStopRequest(body)
    }

    /// Runs the work of this process, and waits for the others to have done theirs, which may take
    /// any time.
    ///
    /// If it fails, tells the others why; if others failed, throws their reason.
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
            let reason = reason(of: error)
            abort()
            throw reason
        }
    }

    /// The reason to give for an error that ends this process: a peer's, if a peer failed first. The
    /// peers are told. Later calls return the same.
    package func reason(of error: any Error) -> any Error {
        if let known = lock.withLock({ ownReason }) { return known }
        let reason = watch.reason(of: error)
        return lock.withLock {
            ownReason = ownReason ?? reason
            return ownReason ?? reason
        }
    }

    private func abort() {
        for group in lock.withLock({ groups }) { group.abort() }
    }
}
