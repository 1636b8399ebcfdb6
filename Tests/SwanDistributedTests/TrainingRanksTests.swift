import Foundation
import Testing

/// Training by several processes against one process.
@Suite(.serialized) struct TrainingRanksTests {
    private final class Folder {
        let path = FileManager.default.temporaryDirectory.path + "/ranks-\(UUID().uuidString)"

        init() throws {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        }

        deinit {
            do {
                try FileManager.default.removeItem(atPath: path)
            } catch {
                Issue.record(error)
            }
        }
    }

    private let folder: Folder

    init() throws { folder = try Folder() }

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

    /// Trains into a folder of its own.
    private func train(_ name: String, _ ranks: Int, _ arguments: String) throws {
        try run(
            ranks,
            arguments.split(separator: " ").map(String.init) + ["folder=\(folder.path)/\(name)"],
            // Two ranks on each of several machines.
            environment: ["LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": "0"]
        )
    }

    /// Expects the same tensors in two runs' checkpoints.
    private func expectSame(_ a: String, _ b: String, _ how: String = "") throws {
        try run(
            1,
            ["compare", "a=\(folder.path)/\(a)", "b=\(folder.path)/\(b)"]
                + how.split(separator: " ").map(String.init)
        )
    }

    /// Networks, gradients and parts of tensors.
    @Test(arguments: [2, 3]) func shards(ranks: Int) throws { try run(ranks, ["shards"]) }

    /// A rank has its part of the weights, and those that are not of blocks and two blocks as a
    /// whole.
    @Test func peakOfShards() throws { try run(4, ["peak"]) }

    /// Gradients summed over ranks, weights shared by them: the bits of one process, because sums
    /// are taken in pairs.
    @Test func sameBits() throws {
        let flow = "flow task=t2v steps=8"
        try train("one", 1, flow)
        try train("data4", 4, "\(flow) recomputing=true")
        try expectSame("data4", "one", "step=8")
        try train("full2", 2, "\(flow) shard=full")
        try expectSame("full2", "one", "step=8")
        try train("hybrid4", 4, "\(flow) shard=hybrid")
        try expectSame("hybrid4", "one", "step=8")
    }

    /// The same for Muon, which needs whole matrices, and images.
    @Test func sameBitsWithMuon() throws {
        let flow = "flow task=i2v optimizer=muon steps=8"
        try train("one", 1, flow)
        try train("data2", 2, flow)
        try expectSame("data2", "one", "step=8")
        try train("full2", 2, "\(flow) shard=full")
        try expectSame("full2", "one", "step=8")
    }

    /// Weights travel in bfloat16, and gradients are summed in float32.
    @Test func sameBitsInBFloat16() throws {
        let flow = "flow task=t2v precision=bfloat16 steps=6"
        try train("one", 1, flow)
        try train("full2", 2, "\(flow) shard=full")
        try expectSame("full2", "one", "step=6")
    }

    /// Divided tokens: sums over tokens are taken in another order. Gradients differ by rounding;
    /// weights by little. Left out: a bias whose gradient is as small as Adam's epsilon, so that
    /// rounding moves it.
    @Test(arguments: ["t2v", "i2v"]) func dividedTokens(task: String) throws {
        let flow = "flow task=\(task)"
        let sequence =
            task == "t2v" ? "sequence=2 recomputing=true" : "sequence=2 data=2 shard=full"
        let ranks = task == "t2v" ? 2 : 4
        try train("first", 1, "\(flow) steps=1")
        try train("first2", ranks, "\(flow) steps=1 \(sequence)")
        try expectSame("first2", "first", "step=1 only=first_moments within=1e-5")
        try train("one", 1, "\(flow) steps=8")
        try train("two", ranks, "\(flow) steps=8 \(sequence)")
        try expectSame("two", "one", "step=8 only=/weights/ without=k_img.bias within=1e-5 floor=1")
    }

    /// Killed between checkpoints, and continued by fewer ranks, which have other parts.
    @Test func resumesOnFewerRanks() throws {
        let flow = "flow task=t2v steps=12"
        try train("one", 1, flow)
        try train("fewer", 4, "\(flow) shard=full until=5")
        try train("fewer", 2, "\(flow) shard=full until=9")
        try train("fewer", 1, flow)
        try expectSame("fewer", "one", "step=12")
        let names = try FileManager.default.contentsOfDirectory(
            atPath: "\(folder.path)/fewer/flow"
        )
        // The parts of older checkpoints are gone, those of kept ones are there.
        #expect(
            names.sorted() == [
                "step-00000008.part-0-of-2.safetensors", "step-00000008.part-1-of-2.safetensors",
                "step-00000008.safetensors", "step-00000012.safetensors",
            ]
        )
    }

    /// All stages of the recipe of the bundled model, at toy size.
    @Test func recipe() throws {
        try train("one", 1, "recipe")
        let transformer = "stage=transformer"
        func same(_ name: String, _ ranks: Int, _ options: String, _ how: String) throws {
            try train(name, ranks, "recipe \(options)")
            try run(
                1,
                ["compare", transformer, "a=\(folder.path)/\(name)/checkpoints"]
                    + ["b=\(folder.path)/one/checkpoints"]
                    + how.split(separator: " ").map(String.init)
            )
        }
        try same("two", 2, "", "")
        try same("four", 4, "", "")
        try same("full", 2, "shard=full", "")
        try same("divided", 2, "sequence=2", "only=/weights/ within=1e-5 floor=1")
    }

    // MARK: - The command

    /// A recipe for the command, with a checkpoint every two steps.
    private func recipe(_ steps: Int) throws -> String {
        let path = folder.path + "/recipe.yaml"
        try run(1, ["write", "path=\(path)", "steps=\(steps)"])
        return path
    }

    private func command(
        _ ranks: Int,
        _ output: String,
        _ more: [String] = [],
        restart: Int = 0,
        job: String = "one"
    ) throws -> Ranks {
        try Ranks(
            ranks,
            ["train", folder.path + "/recipe.yaml", "-o", "\(folder.path)/\(output)"]
                + ["--device", "cpu", "--progress", "json"] + more,
            environment: [
                "TORCHELASTIC_RESTART_COUNT": "\(restart)", "TORCHELASTIC_RUN_ID": job,
            ],
            program: "swan",
            isAlone: ranks == 1
        )
    }

    private func waitFor(_ file: String) throws {
        let end = ContinuousClock.now + .seconds(50)
        while !FileManager.default.fileExists(atPath: "\(folder.path)/\(file)") {
            try #require(ContinuousClock.now < end, "\(file) does not appear")
            Thread.sleep(forTimeInterval: 0.005)
        }
    }

    private func model(_ name: String) throws -> Data {
        try Data(
            contentsOf: URL(
                fileURLWithPath:
                    "\(folder.path)/\(name)/transformer/diffusion_pytorch_model.safetensors"
            )
        )
    }

    /// A rank is killed, the launcher starts all again; then one rank gets SIGTERM, and one process
    /// ends the run. The model is that of a run without interruption.
    @Test func commandContinuesAfterFailuresAndSignals() throws {
        _ = try recipe(40)
        let whole = try command(1, "whole").end()
        #expect(whole[0].code == 0, "\(whole[0].messages)")
        let first = try command(2, "out")
        try waitFor("out/checkpoints/transformer/step-00000002.safetensors")
        kill(first.processes[1].processIdentifier, SIGKILL)
        let killed = first.end()
        #expect(killed[0].code == 75, "\(killed[0].messages)")
        #expect(killed[0].messages.contains("rank 1"))
        let foreign = try command(2, "out", restart: 1, job: "another").end()
        #expect(foreign[0].code == 73, "\(foreign[0].messages)")
        #expect(foreign[0].messages.contains("continue it with --resume"))
        let second = try command(2, "out", restart: 1)
        try waitFor("out/checkpoints/transformer/step-00000010.safetensors")
        kill(second.processes[1].processIdentifier, SIGTERM)
        let stopped = second.end()
        for outcome in stopped { #expect(outcome.code == 143, "\(outcome.messages)") }
        #expect(stopped[0].messages.contains("--resume continues from there"))
        let last = try command(1, "out", ["--resume"]).end()
        #expect(last[0].code == 0, "\(last[0].messages)")
        #expect(try model("out") == model("whole"))
    }

    @Test func namesWhatFits() throws {
        _ = try recipe(4)
        func expect(_ message: String, _ ranks: Int, _ options: [String]) throws {
            let outcomes = try command(ranks, "out", options).end()
            // A rank that hears of another's error first names that.
            #expect(outcomes.contains { $0.code == 64 })
            for outcome in outcomes {
                #expect([64, 75].contains(outcome.code), "\(outcome.messages)")
                #expect(outcome.messages.contains(message), "\(outcome.messages)")
            }
        }
        try expect("2 processes were started", 2, ["--data-parallel", "3"])
        try expect("2 x 1, 1 x 2", 2, ["--data-parallel", "3"])
        try expect("'vae' has 2 micro-batches", 3, [])
        try expect("1 process was started", 1, ["--sequence-parallel", "2"])
        // Later stages are checked before the first one.
        try expect("the transformer has 2 heads", 3, ["--sequence-parallel", "3"])
        let path = folder.path + "/recipe.yaml"
        let text = try String(contentsOfFile: path, encoding: .utf8)
        try text.replacing("micro_batches: 2", with: "micro_batches: 3")
            .write(toFile: path, atomically: true, encoding: .utf8)
        try expect("'transformer' has 3 micro-batches", 2, ["--shard", "full"])
        #expect(!FileManager.default.fileExists(atPath: folder.path + "/out"))
    }

    /// Ranks in different working directories, so that a relative path is another folder on each.
    @Test func refusesAFolderThatIsNotShared() throws {
        _ = try recipe(4)
        for name in ["a", "b"] {
            try FileManager.default.createDirectory(
                atPath: "\(folder.path)/\(name)",
                withIntermediateDirectories: true
            )
        }
        let job = try Ranks(
            2,
            ["train", folder.path + "/recipe.yaml", "-o", "out", "--device", "cpu"],
            program: "swan",
            folders: ["\(folder.path)/a", "\(folder.path)/b"]
        )
        for outcome in job.end() {
            #expect(outcome.code == 78, "\(outcome.messages)")
            #expect(outcome.messages.contains("out: rank 1 ("))
            #expect(outcome.messages.contains("all ranks need the same output folder"))
        }
        #expect(!FileManager.default.fileExists(atPath: folder.path + "/a/out"))
    }
}
