import SwanSystem
import Testing

@testable import SwanDistributed

/// What is concluded from a roster and measured links, without a network.
@Suite struct NetworkReportTests {
    private func roster(_ devices: [String], hosts: [String] = []) -> Roster {
        Roster(
            entries: devices.enumerated().map { index, device in
                var entry = Roster.Entry(device: device, agreed: [:])
                entry.host = index < hosts.count ? hosts[index] : "one"
                return entry
            }
        )
    }

    /// The speed-up is that of `SequenceParallel`: 12 heads on 16 ranks are two groups of eight.
    @Test(arguments: [(4, 4), (12, 12), (16, 8)])
    func predictsTheDivisionOfTokens(ranks: Int, width: Int) throws {
        let report = NetworkReport(
            roster(Array(repeating: "cpu", count: ranks)),
            links: [.init(from: 0, to: 1, latencyMicroseconds: 50, gigabytesPerSecond: 1)],
            collectives: [],
            speed: 1e12
        )
        let work = CommunicationModel.Workload.usual[0]
        let prediction = try #require(report.predictions.first { $0.model == work.name })
        let (n, w) = (Double(ranks), Double(width))
        let tokens = 2 * Double(work.tokens) * 1_536
        // Ulysses 4 T C / N (1 - 1 / w) and a ring of N / w groups 2 T C / N (N / w - 1), 30 blocks.
        let bytes = 30 * tokens / n * (4 * (1 - 1 / w) + 2 * (n / w - 1))
        let exchanges = 30 * (2 + n / w - 1)
        let computing = work.operations / 1e12
        let expected = computing / (computing / n + bytes / 1e9 + exchanges * 50e-6)
        #expect(abs(prediction.speedup - expected) < 1e-9 * expected)
    }

    /// NCCL connects no ranks that share a GPU; Gloo none on GPUs.
    @Test func groupsNeedAGPUForEachRank() throws {
        try roster(["cpu", "cpu"]).requireOwnGPUs([0, 1])
        try roster(["cuda:0", "cuda:1"]).requireOwnGPUs([0, 1])
        try roster(["cuda:0", "cuda:0"], hosts: ["one", "two"]).requireOwnGPUs([0, 1])
        try roster(["cuda:0", "cuda:1", "cuda:0"]).requireOwnGPUs([1, 2])
        let shared = #expect(throws: SwanError.self) {
            try roster(["cuda:0", "cuda:1", "cuda:0"]).requireOwnGPUs([0, 1, 2])
        }
        #expect(shared?.code == .deviceUnavailable)
        #expect(shared?.message.contains("ranks 0 and 2 share cuda:0 of one") == true)
        let mixed = #expect(throws: SwanError.self) {
            try roster(["cuda:0", "cpu"]).requireOwnGPUs([0, 1])
        }
        #expect(mixed?.message.contains("rank 1 computes on a CPU, rank 0 on cuda:0") == true)
    }
}
