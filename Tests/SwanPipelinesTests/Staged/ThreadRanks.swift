import Foundation
import SwanDistributed
import SwanSystem
import Synchronization
import Torch

/// Ranks of a job as threads of this process, with one thread for operators each.
enum ThreadRanks {
    /// Runs `body` on each rank and returns what each returned or threw, in order.
    static func run<Value: Sendable>(
        _ count: Int,
        deadline: Duration = .seconds(300),
        _ body: @escaping @Sendable (World) throws -> Value
    ) throws -> [Result<Value, any Error>] {
        // As under `swan launch`, the store outlives every rank.
        let service = try StoreService.open("127.0.0.1", port: 0, isLocal: true, deadline: deadline)
        let results = Mutex<[Int: Result<Value, any Error>]>([:])
        let group = DispatchGroup()
        for rank in 0..<count {
            group.enter()
            try startThread("swan.rank") {
                defer { group.leave() }
                let result = Result {
                    try ComputeBudget(threads: 1).run {
                        var launch = Launch(
                            rank: rank,
                            size: count,
                            localRank: rank,
                            localSize: count,
                            port: service.port
                        )
                        launch.isServedByLauncher = true
                        let entry = Roster.Entry(device: "cpu", agreed: [:])
                        let world = try World(launch, entry, World.Deadlines(operation: deadline))
                        return try world.run { try body(world) }
                    }
                }
                results.withLock { $0[rank] = result }
            }
        }
        withExtendedLifetime(service) { group.wait() }
        return results.withLock { results in (0..<count).compactMap { results[$0] } }
    }
}
