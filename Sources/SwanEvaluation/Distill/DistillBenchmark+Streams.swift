import SwanMedia
import SwanPipelines
import SwanSystem
import SwanTiny
import Torch

extension DistillBenchmark {
    /// Whether long streams hold: the worst tenth of the frames relative to the first.
    func holding() throws -> [Figure] {
        let frames = teacher.frames
        let asked = AskedScenes(options.streams, frames: frames, seed: options.seed, kind: .one)
        var tenths = (0..<10).map { _ in VideoFigures() }
        for (index, (text, claim)) in zip(asked.texts, asked.claims).enumerated() {
            let stream = try student.stream(text, seed: Seed.mixed(options.seed, UInt64(index)))
            var pending: [VideoFrame] = []
            for tenth in tenths.indices {
                let count = options.streamFrames / 10
                while pending.count < count { pending += try stream.generate() }
                for first in stride(from: 0, through: count - frames, by: frames) {
                    let clip = try Tensor(
                        clip: Array(pending[first..<first + frames]),
                        of: student.model.name
                    )
                    try tenths[tenth].add(clip, claim, seconds: 0)
                }
                pending.removeFirst(count)
            }
            onProgress("stream \(index + 1) of \(options.streams)")
        }
        for (number, tenth) in tenths.enumerated() {
            onProgress("tenth \(number + 1): \(tenth.score)")
        }
        return figures(of: tenths)
    }

    private func figures(of tenths: [VideoFigures]) -> [Figure] {
        func worst(_ value: (VideoFigures) -> Double) -> Double {
            let first = value(tenths[0])
            let ratios = tenths.dropFirst().map { value($0) / first }
            // NaN, if the first tenth has nothing to compare with, is the worst.
            return ratios.first(where: \.isNaN) ?? ratios.max { abs($0 - 1) < abs($1 - 1) } ?? .nan
        }
        // More prompts may be met later, not fewer.
        let met = tenths.dropFirst().map { $0.met / tenths[0].met }
        return [
            Figure("stream_sharpness", worst(\.texture.sharpness), "", .within(0.9...1.1)),
            Figure("stream_contrast", worst(\.texture.contrast), "", .within(0.9...1.1)),
            Figure("stream_met_first", tenths[0].met),
            Figure(
                "stream_met",
                met.first(where: \.isNaN) ?? met.min() ?? .nan,
                "",
                .atLeast(0.9)
            ),
        ]
    }
}
