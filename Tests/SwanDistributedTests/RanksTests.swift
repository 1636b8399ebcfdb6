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

    /// Tests/distributed kills, stops and cuts off ranks.
    @Test(arguments: ["error", "leave"], [0, 1])
    func failure(way: String, victim: Int) throws {
        let outcomes = try Ranks(3, ["failing", way, "\(victim)"]).end()
        for rank in (0..<3) where rank != victim {
            #expect(outcomes[rank].code == 75, "\(outcomes[rank].messages)")
            let names = outcomes[rank].messages.contains("rank \(victim) (")
            #expect(names, "\(outcomes[rank].messages)")
            if way == "error" {
                #expect(outcomes[rank].messages.contains("chunk 3 is not finite"))
            }
        }
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
