import Foundation
import Testing

@testable import SwanPipelines

/// What a stream reports about itself and its machine.
@Suite struct SummaryTests {
    @Test func percentilesAreMeasuredValues() throws {
        let latency = try #require(
            StreamSummary.Latency(seconds: (1...100).reversed().map { Double($0) / 1_000 })
        )
        #expect(abs(latency.p50 - 50) < 1e-9)
        #expect(abs(latency.p95 - 95) < 1e-9)
        #expect(abs(latency.p99 - 99) < 1e-9)
        let one = try #require(StreamSummary.Latency(seconds: [0.25]))
        #expect((one.p50, one.p99) == (250, 250))
        #expect(StreamSummary.Latency(seconds: []) == nil)
    }

    @Test func aSummarySurvivesJSON() throws {
        var summary = StreamSummary()
        (summary.framesOut, summary.fps, summary.seed) = (7, 12.5, .max)
        summary.chunkLatency = StreamSummary.Latency(seconds: [1])
        let again = try JSONDecoder().decode(StreamSummary.self, from: summary.json())
        #expect(again == summary)
    }

    @Test func remainingTimeFollowsTheSpeed() {
        var progress = StreamProgress(stage: .streaming, total: 100)
        #expect(progress.remainingSeconds == nil)
        (progress.framesOut, progress.seconds) = (25, 5)
        #expect(progress.remainingSeconds == 15)
        progress.total = nil
        #expect(progress.remainingSeconds == nil)
    }

    @Test(arguments: [
        ("flags\t: fpu avx2 fma avx512f avx512_bf16", ["avx2", "fma", "avx512f", "avx512_bf16"]),
        ("flags\t: fpu avx2 fma f16c", ["avx2", "fma", "f16c"]),
        ("Features\t: fp asimd bf16", ["asimd", "bf16"]), ("", []),
    ])
    func aMachineIsKnownByItsInstructions(_ cpuInfo: String, _ expected: [String]) {
        let machine = Machine(cpuInfo: "processor\t: 0\nmodel name\t: Some CPU\n" + cpuInfo + "\n")
        #expect(machine.instructions == expected)
        #expect(machine.processor == "Some CPU")
    }

    @Test func theProcessKnowsItsAge() throws {
        let start = try #require(ProcessFacts.start)
        #expect(start <= .now)
        #expect(.now - start < .seconds(86_400))
        #expect(ProcessFacts.peakMemoryBytes > 1_000_000)
    }
}
