import SwanSystem
import Testing

@testable import SwanDistributed

@Suite struct StillnessTests {
    /// The checks, of all ranks, until one is found; nil if none is in `limit` checks.
    private func found(
        _ ranks: [Int],
        within limit: Int,
        _ count: (_ rank: Int, _ check: Int) -> Int
    ) throws -> (rank: Int, checks: Int)? {
        var stillness = Stillness(ranks: ranks, mostAge: 3)
        for check in 1...limit {
            let still = try stillness.check { rank throws(SwanError) in count(rank, check) }
            if let still { return (still, check) }
        }
        return nil
    }

    @Test func aStoppedRankIsFound() throws {
        let still = try found([1, 2, 3], within: 100) { rank, check in
            rank == 2 ? min(check, 10) : check
        }
        // Looked at in every fourth check: its last change is seen in the 12th.
        #expect(still?.rank == 2 && still?.checks == 24)
    }

    /// A rank that has not begun to count is still starting; one that goes on is forgiven.
    @Test func livingRanksAreNotFound() throws {
        #expect(try found([1, 2], within: 200) { rank, check in rank == 1 ? 0 : check } == nil)
        #expect(try found([1], within: 200) { _, check in check / 10 } == nil)
        #expect(try found([], within: 200) { _, _ in 0 } == nil)
    }
}
