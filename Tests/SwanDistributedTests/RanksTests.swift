import Foundation
import Testing

/// What several processes compute together, and how they end.
@Suite(.serialized) struct RanksTests {
    @Test(arguments: [1, 2, 3, 4])
    func collectives(ranks: Int) throws {
        for outcome in try Ranks(ranks, ["collectives"]).end() {
            #expect(outcome.code == 0, "\(outcome.messages)")
            #expect(outcome.output == "done\n")
        }
    }

    /// Ulysses, a ring of three and of five ranks with fewer heads, and both as axes.
    @Test(arguments: [2, 3, 4, 5])
    func attention(ranks: Int) throws {
        for outcome in try Ranks(ranks, ["attention"]).end() {
            #expect(outcome.code == 0, "\(outcome.messages)")
        }
    }

    @Test(arguments: [2, 3, 4])
    func transformers(ranks: Int) throws {
        for outcome in try Ranks(ranks, ["transformers"]).end() {
            #expect(outcome.code == 0, "\(outcome.messages)")
        }
    }

    @Test(arguments: ["error", "kill", "leave", "stop"], [0, 1])
    func failure(way: String, victim: Int) throws {
        let began = ContinuousClock.now
        let ranks = try Ranks(3, ["failing", way, "\(victim)"])
        let others = (0..<3).filter { $0 != victim }
        // A stopped process stays until the others have ended.
        let stopped = ranks.processes[victim].processIdentifier
        DispatchQueue.global().asyncAfter(deadline: .now() + 9) { kill(stopped, SIGKILL) }
        let outcomes = ranks.end()
        for rank in others {
            #expect(outcomes[rank].code == 75, "\(outcomes[rank].messages)")
            let names = outcomes[rank].messages.contains("rank \(victim) (")
            #expect(names, "\(outcomes[rank].messages)")
            if way == "error" {
                #expect(outcomes[rank].messages.contains("chunk 3 is not finite"))
            }
        }
        #expect(ContinuousClock.now - began < .seconds(50))
    }

    @Test func differentModels() throws {
        let ranks = try Ranks(
            3,
            ["collectives"],
            environment: ["PROBE_AGREED_2": "another", "PROBE_AGREED_0": "first"]
        )
        for outcome in ranks.end() {
            #expect(outcome.code == 70)
            #expect(outcome.messages.contains("model differs: first on rank 0"))
        }
    }
}
