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
        let port = UInt16(try freePort())
        let results = Mutex<[Int: Result<Value, any Error>]>([:])
        let group = DispatchGroup()
        for rank in 0..<count {
            group.enter()
            try startThread("swan.rank") {
                defer { group.leave() }
                let result = Result {
                    try ComputeBudget(threads: 1).run {
                        let launch = Launch(
                            rank: rank,
                            size: count,
                            localRank: rank,
                            localSize: count,
                            port: port
                        )
                        let entry = Roster.Entry(device: "cpu", agreed: [:])
                        let world = try World(launch, entry, World.Deadlines(operation: deadline))
                        return try world.run { try body(world) }
                    }
                }
                results.withLock { $0[rank] = result }
            }
        }
        group.wait()
        return results.withLock { results in (0..<count).compactMap { results[$0] } }
    }

    /// A port that was free a moment ago.
    private static func freePort() throws -> Int {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        return withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                bind(descriptor, generic, length)
                getsockname(descriptor, generic, &length)
            }
            return Int(UInt16(bigEndian: pointer.pointee.sin_port))
        }
    }
}
