import Foundation
import Metrics
import Testing

@testable import SwanServer

/// The metrics as Prometheus reads them.
struct MetricsTests {
    private func lines(_ metrics: PrometheusMetrics) -> [String] {
        metrics.text().split(separator: "\n").map(String.init)
    }

    @Test func countersGaugesAndHistogramsAreWritten() {
        let metrics = PrometheusMetrics([
            "runs_total": .init(kind: .counter, help: "Runs \\ of\nmany kinds."),
            "seconds": .init(kind: .histogram, help: "", buckets: [0.125, 1]),
        ])
        Counter(label: "runs_total", dimensions: [("b", "2"), ("a", "1")], factory: metrics)
            .increment(by: 3)
        Counter(label: "runs_total", dimensions: [("a", "1"), ("b", "2")], factory: metrics)
            .increment()
        let seconds = Recorder(label: "seconds", factory: metrics)
        for value in [0.125, 0.5, 7, .nan, .infinity] { seconds.record(value) }
        Timer(label: "seconds", factory: metrics).recordMilliseconds(125)
        let level = Meter(label: "level", factory: metrics)
        level.set(2.5)
        level.decrement(by: 4)
        #expect(
            lines(metrics) == [
                "# TYPE level gauge", "level -1.5",
                "# HELP runs_total Runs \\\\ of\\nmany kinds.", "# TYPE runs_total counter",
                #"runs_total{a="1",b="2"} 4"#,
                "# TYPE seconds histogram", #"seconds_bucket{le="0.125"} 2"#,
                #"seconds_bucket{le="1"} 3"#, #"seconds_bucket{le="+Inf"} 4"#, "seconds_sum 7.75",
                "seconds_count 4",
            ]
        )
    }

    @Test func labelsAreEscapedAndNamesAreMadeValid() {
        let metrics = PrometheusMetrics([:])
        let hostile = "a\"b\\c\nd} 1\n# TYPE evil counter"
        Counter(label: "1 evil\nname", dimensions: [("x y", hostile)], factory: metrics).increment()
        #expect(
            lines(metrics) == [
                "# TYPE _1_evil_name counter",
                #"_1_evil_name{x_y="a\"b\\c\nd} 1\n# TYPE evil counter"} 1"#,
            ]
        )
    }

    @Test func labelValuesBeyondTheLimitAreCountedTogether() {
        let metrics = PrometheusMetrics([:], seriesLimit: 3)
        for number in 0..<10_000 {
            Counter(label: "requests", dimensions: [("path", "\(number)")], factory: metrics)
                .increment()
        }
        #expect(lines(metrics).count == 5)
        #expect(lines(metrics).contains(#"requests{path="other"} 9997"#))
    }

    @Test func gaugesAreUpdatedBeforeEachReading() {
        let metrics = PrometheusMetrics([:])
        let level = Meter(label: "level", factory: metrics)
        metrics.whenRead { level.increment(by: 1.0) }
        #expect(lines(metrics).last == "level 1")
        #expect(lines(metrics).last == "level 2")
        level.destroy()
        #expect(metrics.text().contains("level 2") == false)
    }

    @Test func concurrentIncrementsAreNotLost() async {
        let metrics = PrometheusMetrics([:])
        await withTaskGroup(of: Void.self) { group in
            for task in 0..<8 {
                group.addTask {
                    for _ in 0..<1_000 {
                        Counter(label: "n", dimensions: [("t", "\(task % 2)")], factory: metrics)
                            .increment()
                    }
                }
            }
        }
        #expect(lines(metrics).suffix(2) == [#"n{t="0"} 4000"#, #"n{t="1"} 4000"#])
    }
}
