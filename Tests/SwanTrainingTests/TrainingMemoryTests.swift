import SwanSystem
import Testing

@testable import SwanTraining

/// The arithmetic; `Tests/distributed/test_memory.py` compares it with what runs use.
@Suite struct TrainingMemoryTests {
    private func memory(
        _ change: (inout TrainingMemory.Division) -> Void = { _ in },
        kept: Int = 0
    ) -> TrainingMemory {
        var division = TrainingMemory.Division()
        division.keepsFreedMemory = false
        change(&division)
        return TrainingMemory(
            [
                .init("generator", weights: 1_000, largestLayer: 100, derivedBytes: 300),
                .init("critic", weights: 3_000, largestLayer: 200, derivedBytes: 500),
            ],
            frozenBytes: 7_000,
            activations: (kept: kept, passing: 50),
            dataBytes: 20,
            division
        )
    }

    /// 16 bytes for each weight that learns, 4 for those of the network that is updated; activations
    /// go as gradients come.
    @Test func addsUp() {
        #expect(memory().total == 16 * 4_000 + 7_000 + 16_000)
        #expect(memory(kept: 40_000).total == 64_000 + 7_000 + 40_000 + 50 + 800 + 20)
        let kept = memory({ $0.keepsFreedMemory = true }, kept: 40_000)
        #expect(kept.total == 64_000 + 7_000 + 60_000 + 50 + 800 + 20)
    }

    @Test func dividesAmongRanks() {
        let shared = memory({ ($0.ranks, $0.shards) = (4, 4) }, kept: 40_000)
        #expect(shared.total == 16_000 + 7_000 + 40_000 + 50 + 2 * 4 * 200 + 20)
        let copies = memory({ $0.ranks = 2 }, kept: 0)
        #expect(copies.total == 64_000 + 7_000 + 2 * 12_000 + 50 + 800 + 20)
        let several = memory({ ($0.microBatches, $0.atOnce) = (3, 2) }, kept: 1_000)
        #expect(several.total == 64_000 + 7_000 + 2 * 1_050 + 3 * 12_000 + 800 + 20)
    }

    @Test func saysWhatWouldFit() throws {
        let large = memory(kept: 40_000)
        #expect(throws: Never.self) { try large.require(in: nil, remedies: []) }
        #expect(throws: Never.self) { try large.require(in: large.total, remedies: []) }
        let error = #expect(throws: SwanError.self) {
            try large.require(
                in: large.total - 1,
                remedies: [("checkpointing", memory()), ("nothing", large)]
            )
        }
        #expect(error?.code == .outOfMemory)
        let message = error?.message ?? ""
        #expect(message.hasSuffix("What would fit: checkpointing (1 MB)"), "\(message)")
        let hopeless = #expect(throws: SwanError.self) {
            try large.require(in: 5, remedies: [("nothing", large)])
        }
        #expect(hopeless?.message.contains("a smaller") ?? false)
    }

    @Test func writesSizes() {
        #expect(TrainingMemory.size(310_200_000) == "310 MB")
        #expect(TrainingMemory.size(9_900_000_000) == "9900 MB")
        #expect(TrainingMemory.size(54_400_000_000) == "54 GB")
        #expect(TrainingMemory.size(3) == "1 MB")
    }
}
