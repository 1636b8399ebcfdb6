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
}
