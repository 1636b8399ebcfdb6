import Foundation
import SwanEvaluation
import Testing

@testable import SwanServeBench

@Suite struct GlassSamplerTests {
    /// A sample as the page sends it; number -1 for a picture without one.
    private func sample(_ number: Int, _ time: Double) -> [String: Any] {
        let levels = FrameCounter.cells(max(number, 0)).map { $0 ? 215.0 : 40.0 }
        return ["time": time, "levels": number < 0 ? levels.map { _ in 128 } : levels]
    }

    private func sampler(
        input: [(Int, Double)],
        output: [(Int, Double)]
    ) throws -> GlassSampler {
        let record: [String: Any] = [
            "input": input.map { sample($0.0, $0.1).merging(["capture": $0.1 - 7]) { $1 } },
            "output": output.map { sample($0.0, $0.1) },
        ]
        let data = try JSONSerialization.data(withJSONObject: record)
        return GlassSampler(try JSONDecoder().decode(GlassSampler.Record.self, from: data))
    }

    @Test func matchesNumbers() throws {
        let sampler = try sampler(
            input: [(3, 100), (4, 160), (5, 220), (6, 280)],
            output: [(3, 300), (4, 350), (4, 366), (6, 480)]
        )
        #expect(sampler.latencies == [200, 190, 200])
        #expect(sampler.latenciesFromCapture == [207, 197, 207])
        #expect(sampler.missed == 1)
        #expect(sampler.readable == 1)
    }

    @Test func numbersRepeat() throws {
        let sampler = try sampler(
            input: [(127, 0), (0, 60), (127, 8_000), (0, 8_060)],
            output: [(0, 260), (127, 8_150), (0, 8_250)]
        )
        #expect(sampler.latencies == [200, 150, 190])
    }

    @Test func resultsThatCannotBeReadAreNoMatch() throws {
        let sampler = try sampler(
            input: [(3, 100)],
            output: [(3, 300), (-1, 350), (9, 400), (2, 410)]
        )
        #expect(sampler.latencies == [200])
        #expect(sampler.readable == 0.75)
    }

    @Test func nothingSeen() throws {
        let sampler = try sampler(input: [(1, 0), (2, 10)], output: [])
        #expect(sampler.latencies.isEmpty)
        #expect(sampler.missed == 2)
        #expect(sampler.readable == 0)
    }

    @Test func percentiles() {
        let values = (1...100).map(Double.init).shuffled()
        #expect(values.percentile(0.95) == 95)
        #expect(values.percentile(1) == 100)
        #expect(values.median == 50.5)
        #expect([3.0].percentile(0.01) == 3)
        #expect([Double]().median.isNaN)
    }

    @Test func aRowHoldsOnlyIfMeasured() {
        let good = ServeBenchRow(.start, "work", [Figure("median", 0.9, "s", .atMost(1))])
        let bad = ServeBenchRow(.start, "work", [Figure("median", .nan, "s", .atMost(1))])
        let absent = ServeBenchRow(.glass, "work", [], note: "no browser")
        #expect(good.holds && !bad.holds && !absent.holds)
        #expect(good.line.contains("ok") && bad.line.contains("MISSED"))
        #expect(absent.line.contains("absent") && absent.line.contains("no browser"))
    }

    /// "No drops" is also no frame that is lost between the counters.
    @Test(arguments: [
        (0.0, 0.0, 1.0, true), (1, 0, 1, false), (0, 1, 1, false), (0, 0, 0.9, false),
    ])
    func aSessionWithTheModelLosesNothing(
        dropped: Double,
        missed: Double,
        readable: Double,
        holds: Bool
    ) {
        var glass = ServeBenchmark.Glass()
        glass.latencies = [100]
        (glass.dropped, glass.missed, glass.readable) = (dropped, missed, readable)
        #expect(glass.figuresWithModel.allSatisfy { $0.holds } == holds)
    }
}
