import Foundation
import GoldenSupport
import Testing
import Torch

@testable import SwanTiny
@testable import SwanTraining

/// The length of a run, and its interruptions.
struct Pauses {
    let steps: Int
    /// The number of steps between checkpoints.
    var checkpoint = 2
    /// The steps after which the run is killed, between checkpoints.
    var killed = [3, 5]
}

/// Trains once without interruption, and once killed between checkpoints and resumed from the disk.
/// Expects both to end with the same bits.
@discardableResult
func expectExactResume<M: Method>(
    _ method: () throws -> M,
    _ start: [String: [String: Tensor]],
    _ pauses: Pauses
) throws -> TrainingState {
    let folder = try TemporaryDirectory()
    func run(_ name: String, stoppingAt stop: Int? = nil) throws -> TrainingState {
        let loop = TrainingLoop(
            name,
            steps: pauses.steps,
            method: try method(),
            saving: CheckpointSaving(
                try Checkpoints(folder: folder.url, stage: name, kept: 2),
                CheckpointSchedule(everySteps: pauses.checkpoint, everyMinutes: 60, kept: 2),
                metadata: [:]
            )
        )
        return try loop.run(from: { start }, stoppingAt: stop) { _ in }
    }
    let whole = try run("whole")
    for step in pauses.killed { _ = try run("killed", stoppingAt: step) }
    let resumed = try run("killed")
    #expect(whole.step == pauses.steps && resumed.step == pauses.steps)
    #expect(Set(whole.networks.keys) == Set(start.keys))
    #expect(Set(resumed.networks.keys) == Set(start.keys))
    for (role, a) in whole.networks {
        let b = try #require(resumed.networks[role])
        #expect(a.keys == b.keys && a.updates == b.updates)
        for (x, y) in zip(a.tensors, b.tensors) {
            #expect(try x.detached().array(of: Float.self) == y.detached().array(of: Float.self))
        }
        let moved = try zip(a.keys, a.parameters).contains { key, parameter in
            try start[role]?[key]?.array(of: Float.self)
                != parameter.detached().array(of: Float.self)
        }
        #expect(moved, "training did not change \(role)")
    }
    return whole
}

extension TrainedNetwork {
    /// All tensors that its checkpoint contains.
    var tensors: [Tensor] {
        parameters + optimizer.averages + optimizer.firstMoments
            + optimizer.secondMoments.compactMap(\.self)
    }
}
