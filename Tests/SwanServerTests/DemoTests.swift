import Foundation
import SwanPipelines
import Testing

@testable import SwanServer

/// The messages of StreamDiffusionV2's demo protocol.
@Suite struct DemoTests {
    private func parameters(_ text: String) throws -> DemoParameters {
        try JSONDecoder().decode(DemoParameters.self, from: Data(text.utf8))
    }

    @Test func missingParametersKeepTheirValues() throws {
        let first = try parameters(
            #"{"prompt": "neon", "steps": 2, "noise_scale": 0.5, "seed": 4}"#
        )
        let second = try parameters(#"{"prompt": "", "steps": null, "noise_scale": 0.75}"#).filled(
            from: first
        )
        #expect(second.prompt == "neon" && second.steps == 2 && second.seed == 4)
        var change = StreamChange()
        change.noiseScale = 0.75
        #expect(second.change(from: first, maxSteps: 2) == change)
        #expect(second.change(from: second, maxSteps: 2) == nil)
    }

    @Test func numbersOutOfRangeBecomeTheNearest() throws {
        let values = try parameters(
            #"{"steps": 7.6, "noise_scale": 9, "seed": -1, "restart": true}"#
        )
        #expect(values.steps == 8 && values.noiseScale == 1 && values.seed == nil)
        let change = values.change(from: DemoParameters(), maxSteps: 2)
        #expect(change?.steps == 2 && change?.resets == true)
    }

    @Test func uploadsAreMarkedInTwoWays() throws {
        #expect(try parameters(#"{"input_mode": "upload"}"#).isUpload)
        #expect(try parameters(#"{"upload_mode": true}"#).isUpload)
        #expect(try !parameters(#"{"input_mode": "camera", "upload_mode": false}"#).isUpload)
    }

    @Test func latenciesHavePercentiles() throws {
        var latencies = DemoLatencies()
        #expect(latencies.report(last: 10, framesUnderway: 0) == nil)
        for index in 0..<8 {
            var header = FrameHeader(.jpeg, sequence: 0, captureTime: 0, width: 1, height: 1)
            header.chunk = UInt32(index / 4)
            let arrival = ContinuousClock.now - .seconds(index)
            latencies.add(OutputFrame(header: header, picture: [], arrival: arrival))
        }
        let report = try #require(latencies.report(last: 5, framesUnderway: 3))
        #expect(report.sampleCount == 5 && report.remainingFrames == 3 && report.batchCount == 2)
        #expect(abs(report.medianLatency - 5) < 0.5 && abs(report.meanLatency - 5) < 0.5)
        #expect(abs(report.minLatency - 3) < 0.5 && abs(report.maxLatency - 7) < 0.5)
        #expect(abs(report.p95Latency - 6.8) < 0.5 && abs(report.stdLatency - 1.414) < 0.1)
    }

    @Test func uploadsAreLimited() {
        var upload = DemoUpload()
        let frame = SharedFrame(sequence: 0) { throw MessageError("a", "b") }
        while !upload.isFull { upload.add(frame, bytes: 4 << 20) }
        #expect(upload.count == 8)
        upload.removeFirst()
        #expect(!upload.isFull && upload.count == 7)
    }
}
