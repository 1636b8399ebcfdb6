import Foundation
import RankSupport
import SwanDistributed
import SwanModels
import SwanSystem
import SwanTraining
import Torch
import TorchNN

extension TrainingProbe {
    /// Trains `FlowMethod` with checkpoints in `folder`, up to a step.
    func trainFlow() throws {
        var options = ParallelOptions()
        options.data = argument("data").flatMap { Int($0) }
        options.sequence = argument("sequence").flatMap { Int($0) }
        options.shard = argument("shard").flatMap { Sharding(rawValue: $0) }
        var method = FlowMethod(
            hasImages: argument("task") == "i2v",
            microBatches: argument("parts").flatMap { Int($0) } ?? 4,
            muon: argument("optimizer") == "muon"
        )
        method.recomputing = argument("recomputing") == "true"
        if argument("precision") == "bfloat16" { method.precision = .bfloat16 }
        let ranks = try world.map { try TrainingRanks($0, options) }
        method.sequence = try ranks?.sequenceParallel(headCount: method.config.heads)
        let steps = argument("steps").flatMap { Int($0) } ?? 20
        let loop = TrainingLoop(
            "flow",
            steps: steps,
            method: method,
            saving: CheckpointSaving(
                try checkpoints(argument("folder") ?? ""),
                CheckpointSchedule(everySteps: 4, everyMinutes: 60, kept: 2),
                metadata: [:]
            ),
            ranks: ranks
        )
        let made = method
        let state = try loop.run(
            from: { try made.start() },
            stoppingAt: argument("until").flatMap { Int($0) }
        ) { progress in
            print(String(format: "%d %.6f", progress.step, progress.losses["error"] ?? 0))
        }
        if let group = method.sequence?.group {
            try check(group.traffic[.gather].calls > 0, "the tokens were not divided")
        }
        // The first rank has all averages.
        guard ranks?.isFirst ?? true else { return }
        let averages = state.averages[FlowMethod.role]
        for (key, tensor) in try method.start()[FlowMethod.role] ?? [:] {
            try check(averages[key]?.shape == tensor.shape, "the average of \(key)")
        }
    }

    private func checkpoints(_ folder: String) throws -> Checkpoints {
        try Checkpoints(
            folder: URL(fileURLWithPath: folder),
            stage: argument("stage") ?? "flow",
            kept: 2
        )
    }

    /// Compares the tensors of two checkpoints after a step whose names contain `only`.
    func compare() throws {
        let limit = argument("within").flatMap { Double($0) } ?? 0
        let floor = argument("floor").flatMap { Double($0) } ?? 1e-6
        let step = argument("step").flatMap { Int($0) } ?? 20
        let a = try checkpoints(argument("a") ?? "").file(step)
        let b = try checkpoints(argument("b") ?? "").file(step)
        try check(a.keys == b.keys, "other tensors: \(a.keys.count) and \(b.keys.count)")
        var different: [String] = []
        let keys = b.keys.filter { key in
            (argument("only").map { key.contains($0) } ?? true)
                && (argument("without").map { !key.contains($0) } ?? true)
        }
        try check(!keys.isEmpty, "nothing to compare")
        for key in keys {
            let (x, y) = (try a.tensor(key), try b.tensor(key))
            try check(x.shape == y.shape, "\(key): \(x.shape) and \(y.shape)")
            let difference = try (x - y).abs().max().item()
            let size = try y.abs().max().item()
            guard difference > limit * max(size, floor) else { continue }
            different.append("\(key) by \(difference) of \(size)")
        }
        try check(
            different.isEmpty,
            "\(different.count) differ: \(different.prefix(5).joined(separator: ", "))"
        )
    }
}
