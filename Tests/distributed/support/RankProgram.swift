import Foundation
package import SwanDistributed
import SwanSystem
import Torch

/// A process that checks what the ranks of a job do, with one thread for operators.
package enum RankProgram {
    /// Runs `body` as the rank that the environment names, or without a world if it names none.
    ///
    /// The process ends with code 0, with 75 if a peer failed, or with 70, and says why.
    ///
    /// - Parameters:
    ///   - operation: The longest that an operation between ranks may take.
    ///   - start: The longest that ranks wait for each other at the start.
    ///   - agreed: What all ranks must have in common, by rank.
    package static func run(
        operation: Duration = .seconds(20),
        start: Duration = .seconds(20),
        agreed: (_ rank: Int) -> [String: String] = { _ in [:] },
        _ body: (World?) throws -> Void
    ) {
        do {
            ComputeBudget(threads: 1).apply()
            guard let launch = try Launch(environment: ProcessInfo.processInfo.environment) else {
                try body(nil)
                return print("done")
            }
            var deadlines = World.Deadlines(operation: operation)
            deadlines.start = start
            let entry = Roster.Entry(device: "cpu", agreed: agreed(launch.rank))
            let world = try World(launch, entry, deadlines)
            try world.run { try body(world) }
            print("done")
        } catch let error as SwanError {
            FileHandle.standardError.write(Data("\(error.code): \(error.message)\n".utf8))
            exit(error.code == .peerFailed ? 75 : 70)
        } catch {
            FileHandle.standardError.write(Data("\(error)\n".utf8))
            exit(70)
        }
    }

    /// The world of a scenario that needs one.
    package static func ranks(_ world: World?) throws -> World {
        guard let world else { throw SwanError(.invalidRequest, "not started as a rank") }
        return world
    }
}
