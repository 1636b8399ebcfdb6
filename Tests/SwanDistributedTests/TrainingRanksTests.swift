import Foundation
import Testing

/// Training by several processes against one process.
@Suite(.serialized) struct TrainingRanksTests {
    private final class Folder {
        let path = FileManager.default.temporaryDirectory.path + "/ranks-\(UUID().uuidString)"

        init() throws {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        }

        deinit { _ = try? FileManager.default.removeItem(atPath: path) }
    }

    /// Runs the probe as a number of ranks, or alone; expects success.
    private func run(
        _ ranks: Int,
        _ arguments: [String],
        environment: [String: String] = [:]
    ) throws {
        let job = try Ranks(
            ranks,
            arguments,
            environment: environment,
            program: "training-probe",
            isAlone: ranks == 1
        )
        for outcome in job.end() {
            #expect(outcome.code == 0, "\(ranks) \(arguments): \(outcome.messages)")
        }
    }

    private func expectSame(
        _ a: String,
        _ b: String,
        step: Int = 20,
        within limit: Double = 0,
        only: String? = nil,
        stage: String = "flow"
    ) throws {
        try run(
            1,
            ["compare", "a=\(a)", "b=\(b)", "step=\(step)", "within=\(limit)", "stage=\(stage)"]
                + (only.map { ["only=\($0)"] } ?? [])
        )
    }

    @Test(arguments: [2, 3, 4]) func shards(ranks: Int) throws { try run(ranks, ["shards"]) }

    @Test func peakOfShards() throws { try run(4, ["peak"]) }

    /// Gradients summed over ranks, and weights shared by them: the bits of one process.
    @Test(arguments: ["t2v", "i2v"]) func sameBits(task: String) throws {
        let folder = try Folder()
        let common = ["flow", "task=\(task)"]
        let optimizer = task == "t2v" ? ["optimizer=muon"] : []
        func train(_ name: String, _ ranks: Int, _ more: [String]) throws {
            try run(
                ranks,
                common + optimizer + ["folder=\(folder.path)/\(name)"] + more,
                environment: ["LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": "0"]
            )
        }
        try train("one", 1, [])
        for (name, ranks, more) in [
            ("data2", 2, []), ("data4", 4, ["recomputing=true"]), ("full2", 2, ["shard=full"]),
            ("full4", 4, ["shard=full"]), ("hybrid4", 4, ["shard=hybrid"]),
        ] {
            try train(name, ranks, more)
            try expectSame("\(folder.path)/\(name)", "\(folder.path)/one")
        }
    }
}
