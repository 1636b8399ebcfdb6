import Foundation
import SwanPipelines
import SwanSystem
import Testing

@testable import SwanEvaluation
@testable import SwanTiny
@testable import SwanTraining

@Suite struct QualityReportTests {
    private let good = QualityRow(
        measure: .styles,
        clip: "bikes.mp4",
        style: "sketch",
        figures: [
            Figure("nearest", 95.5, "%", .atLeast(90)), Figure("PSNR", 20.25, "dB"),
        ]
    )
    private let bad = QualityRow(
        measure: .drift,
        clip: "bikes.mp4",
        figures: [Figure("last tenth over first", 1.25, "", .within(0.9...1.1))],
        note: "worse"
    )

    @Test func boundsAreInclusive() {
        #expect(Bound.atLeast(0.6).holds(0.6))
        #expect(!Bound.atLeast(0.6).holds(0.599))
        #expect(Bound.atMost(1.3).holds(1.3))
        #expect(!Bound.atMost(1.3).holds(1.301))
        #expect(!Bound.within(0.9...1.1).holds(0.89))
        for bound in [Bound.atLeast(0), .atMost(1), .within(0...1)] {
            #expect(!bound.holds(.nan))
        }
    }

    @Test func linesShowTheVerdict() {
        #expect(
            good.line
                == "ok      styles   bikes.mp4              sketch     nearest 95.5 % (at least 90); PSNR 20.25 dB"
        )
        #expect(
            bad.line
                == "FAILED  drift    bikes.mp4                         last tenth over first 1.25 (NOT 0.9 to 1.1); worse"
        )
    }

    @Test func oneFailedFigureFailsTheReport() {
        var report = self.report
        #expect(report.holds)
        report.rows = [good]
        #expect(report.holds)
        #expect(report.verdict == "1 of 1 rows meet their bounds")
        report.rows.append(bad)
        #expect(!report.holds)
        #expect(report.verdict == "1 of 2 rows meet their bounds")
        #expect(report.heading.hasSuffix("none, sketch\nbikes.mp4: unseen"))
    }

    @Test func jsonHasBoundsAndVerdicts() throws {
        var report = self.report
        report.rows = [good, bad]
        let data = try JSONText.data(report)
        let fields = try #require(
            try JSONSerialization.jsonObject(with: data) as? [String: Any]
        )
        #expect(fields["schema_version"] as? Int == 1)
        let rows = try #require(fields["rows"] as? [[String: Any]])
        #expect(rows.map { $0["holds"] as? Bool } == [true, false])
        #expect(rows.map { $0["style"] as? String } == ["sketch", nil])
        let figure = try #require((rows[1]["figures"] as? [[String: Any]])?.first)
        #expect(figure["at_least"] as? Double == 0.9)
        #expect(figure["at_most"] as? Double == 1.1)
        #expect(figure["holds"] as? Bool == false)
        report.rows = [
            QualityRow(measure: .vae, clip: "", figures: [Figure("PSNR", .nan)])
        ]
        #expect(try !JSONText.data(report).isEmpty)
    }

    @Test func refusesInvalidOptions() {
        func message(_ change: (inout QualityOptions) -> Void) -> String? {
            var options = QualityOptions()
            change(&options)
            let error = #expect(throws: SwanError.self) { try options.check() }
            return error?.message
        }
        #expect(message { $0.maxFrames = 1 }?.contains("frames per video 1:") == true)
        #expect(message { $0.driftFrames = 10 }?.contains("frames for drift 10:") == true)
        #expect(message { $0.measures = [] }?.contains("no measure") == true)
        #expect(message { $0.sheet = "a.jpg" }?.contains("a.jpg") == true)
        #expect(
            message {
                $0.sheet = "a.png"
                $0.measures = [.vae]
            }?.contains("styles") == true
        )
        #expect(throws: Never.self) { try QualityOptions().check() }
    }

    private var report: QualityReport {
        QualityReport(
            model: "m",
            width: 32,
            height: 32,
            steps: [200, 75],
            seed: 0,
            dtype: "float32",
            device: "cpu",
            styles: ["none", "sketch"],
            footage: [QualityReport.Footage(clip: "bikes.mp4", note: "unseen")]
        )
    }
}
