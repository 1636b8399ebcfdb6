import Foundation
import Logging
import SwanCheckpoints
import SwanMedia
import SwanPipelines
import SwanSystem
import Torch

extension Benchmark {
    /// Measures a complete run from file to file, as in `swan stream`.
    static func stream(_ options: BenchmarkOptions) throws -> [Measurement] {
        let partial = PartialFolder()
        defer { partial.remove() }
        let temporary = FileManager.default.temporaryDirectory.appendingPathComponent("swan-bench")
            .path
        let folder = URL(fileURLWithPath: try partial.make(nextTo: temporary), isDirectory: true)
        let input = options.input ?? folder.appendingPathComponent("in.mp4").path
        if options.input == nil { try makeClip(input) }
        let folderOfModel = try ModelFolder(ModelLocation.path(options.model))
        let size = StreamOptions(try folderOfModel.configuration())
        var summaries: [StreamSummary] = []
        // Memory that other benchmarks have released does not count.
        ProcessFacts.forgetPeakMemory()
        for _ in 0..<max(1, options.rounds) {
            var request = FileStreamRequest(
                input: input,
                output: folder.appendingPathComponent("out.mp4").path,
                prompt: "pencil sketch"
            )
            request.model = options.model
            request.dtype = options.dtype
            request.device = options.device.description
            request.settings.steps = 2
            // Use the model's own size, regardless of the clip's shape.
            (request.settings.width, request.settings.height) = (size.width, size.height)
            request.settings.fit = .stretch
            let job = FileStream(request, log: Logger(label: "swan"), start: .now)
            summaries.append(try job.run())
        }
        let first = summaries.compactMap(\.firstFrameSeconds)
        let latencies = summaries.compactMap(\.chunkLatency?.p50).map { $0 / 1_000 }
        guard let summary = summaries.first else { return [] }
        let work =
            "\(summary.framesOut) frames to \(summary.width)x\(summary.height), 2 steps, "
            + "model \(summary.model)"
        let dtype = DType.allCases.first { "\($0)" == summary.dtype } ?? options.computeType
        var whole = Measurement("stream", work, dtype: dtype, seconds: summaries.map(\.seconds))
        whole.derived["fps"] = Double(summary.framesOut) / whole.median * 1_000
        whole.derived["peak MB"] = Double(ProcessFacts.peakMemoryBytes) / 1e6
        return [
            whole,
            Measurement("first frame", "including model load", dtype: dtype, seconds: first),
            Measurement(
                "chunk",
                "from arrival to completion, including the wait for earlier chunks",
                dtype: dtype,
                seconds: latencies
            ),
        ]
    }

    /// Writes five seconds of soft moving shapes.
    private static func makeClip(_ path: String) throws {
        let (width, height, frames) = (256, 256, 125)
        let writer = try VideoWriter(
            path: path,
            width: width,
            height: height,
            frameRate: Rational(25) ?? .one
        )
        for index in 0..<frames {
            let time = Double(index) / 25
            var pixels: [UInt8] = []
            pixels.reserveCapacity(3 * width * height)
            for y in 0..<height {
                for x in 0..<width {
                    let (u, v) = (Double(x) / 40 + time, Double(y) / 30 - time / 2)
                    let wave = sin(u) * cos(v)
                    pixels += [
                        UInt8(128 + 100 * wave), UInt8(128 + 90 * cos(u + v)), UInt8((x + y) / 2),
                    ]
                }
            }
            try writer.append(VideoFrame(width: width, height: height, pixels: pixels))
        }
        try writer.finish()
    }
}
