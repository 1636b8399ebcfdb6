import Foundation
import Testing

@testable import SwanPipelines

/// What a stream reports about itself.
@Suite struct SummaryTests {
    @Test func percentilesAreMeasuredValues() throws {
        let latency = try #require(
            StreamSummary.Latency(histogram((1...100).reversed().map { Double($0) / 1_000 }))
        )
        #expect(abs(latency.p50 - 50) < 1e-9)
        #expect(abs(latency.p95 - 95) < 1e-9)
        #expect(abs(latency.p99 - 99) < 1e-9)
        let one = try #require(StreamSummary.Latency(histogram([0.25])))
        #expect((one.p50, one.p99) == (250, 250))
        #expect(StreamSummary.Latency(LatencyHistogram()) == nil)
    }

    private func histogram(_ seconds: [Double]) -> LatencyHistogram {
        var histogram = LatencyHistogram()
        for duration in seconds { histogram.add(duration) }
        return histogram
    }

    /// The histogram's percentiles equal the exact ones up to the width of a bucket.
    @Test func percentilesOfManyDurationsAreAccurate() throws {
        let durations = (0..<20_000).map { pow(10, Double($0 * 7_919 % 20_000) / 20_000 * 6 - 4) }
        let histogram = histogram(durations)
        let sorted = durations.sorted()
        #expect(histogram.count == sorted.count)
        for (share, rank) in [(0.5, 10_000), (0.95, 19_000), (0.99, 19_800), (1, 20_000)] {
            let exact = sorted[rank - 1]
            let value = try #require(histogram.percentile(share))
            #expect(value >= exact && value <= exact * 1.008)
        }
        #expect(histogram.percentile(0) ?? 0 >= sorted[0])
    }

    @Test func summariesRoundTripThroughJSON() throws {
        var summary = StreamSummary()
        (summary.framesOut, summary.fps, summary.seed) = (7, 12.5, .max)
        summary.chunkLatency = StreamSummary.Latency(histogram([1]))
        let again = try JSONDecoder().decode(StreamSummary.self, from: summary.json())
        #expect(again == summary)
    }

    @Test func estimatesTheRemainingTime() {
        var progress = StreamProgress(stage: .streaming, total: 100)
        #expect(progress.remainingSeconds == nil)
        (progress.framesOut, progress.seconds) = (25, 5)
        #expect(progress.remainingSeconds == 15)
        progress.total = nil
        #expect(progress.remainingSeconds == nil)
    }
}
