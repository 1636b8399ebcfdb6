import Foundation
import Testing

/// Videos that several processes generate together, and how they end.
@Suite(.serialized) struct GenerationTests {
    /// Runs a scenario of `generation-probe` on some ranks.
    private func run(
        _ scenario: String,
        _ ranks: Int,
        environment: [String: String] = [:]
    ) throws -> [Ranks.Outcome] {
        let folder = FileManager.default.temporaryDirectory
            .appendingPathComponent("swan-generation-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer {
            do {
                try FileManager.default.removeItem(at: folder)
            } catch {
                Issue.record(error)
            }
        }
        return try Ranks(
            ranks,
            [scenario, folder.path],
            environment: environment,
            program: "generation-probe"
        ).end()
    }

    /// Rows of pictures divided among ranks, with exact seams; tiles on several ranks.
    @Test(arguments: [2, 3])
    func autoencoders(ranks: Int) throws {
        for outcome in try run("autoencoders", ranks) {
            #expect(outcome.code == 0, "\(outcome.messages)")
        }
    }

    /// Every model, with heads on two ranks and a ring of two such pairs.
    @Test(arguments: [4])
    func models(ranks: Int) throws {
        for outcome in try run("models", ranks) {
            #expect(outcome.code == 0, "\(outcome.messages)")
        }
    }

    @Test(arguments: [4])
    func divisions(ranks: Int) throws {
        for outcome in try run("divisions", ranks) {
            #expect(outcome.code == 0, "\(outcome.messages)")
        }
    }

    /// Blocks in parts: the bits of whole ones.
    @Test(arguments: [4])
    func shards(ranks: Int) throws {
        for outcome in try run("shards", ranks) {
            #expect(outcome.code == 0, "\(outcome.messages)")
        }
    }

    /// Blocks in parts of each machine's copy, with two ranks on each of two machines.
    @Test func shardsOfMachines() throws {
        let environment = ["LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": "0"]
        for outcome in try run("machines", 4, environment: environment) {
            #expect(outcome.code == 0, "\(outcome.messages)")
        }
    }

    /// A rank has its part of the blocks, and at most two as a whole.
    @Test(arguments: [2, 3, 8])
    func peakOfShards(ranks: Int) throws {
        for outcome in try run("peak", ranks) {
            #expect(outcome.code == 0, "\(outcome.messages)")
        }
    }

    /// LoRAs on whole and on shared weights.
    @Test(arguments: [3])
    func loras(ranks: Int) throws {
        for outcome in try run("loras", ranks) {
            #expect(outcome.code == 0, "\(outcome.messages)")
        }
    }

    /// One rank without memory ends all, with the reason.
    @Test(arguments: ["failing", "failing-shards"])
    func outOfMemory(scenario: String) throws {
        let outcomes = try run(scenario, 3)
        for (rank, outcome) in outcomes.enumerated() {
            #expect(outcome.code == (rank == 2 ? 70 : 75), "\(outcome.messages)")
            #expect(outcome.messages.contains("no memory for 3 GB"), "\(outcome.messages)")
            #expect(rank == 2 || outcome.messages.contains("rank 2 ("), "\(outcome.messages)")
        }
    }

    /// Ends with ranks that were started differently: one says so, and the others name it.
    @Test(arguments: [4])
    func edges(ranks: Int) throws {
        let outcomes = try run("edges", ranks)
        for (rank, outcome) in outcomes.enumerated() {
            let isDifferent = rank == ranks - 1
            #expect(outcome.code == (isDifferent ? 70 : 75), "\(outcome.messages)")
            let name = isDifferent ? "peersDiffer" : "rank \(ranks - 1) ("
            #expect(outcome.messages.contains(name), "\(outcome.messages)")
            #expect(outcome.messages.contains("the solver is"), "\(outcome.messages)")
        }
    }
}
