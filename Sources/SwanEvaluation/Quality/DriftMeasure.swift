import SwanSystem
import SwanTiny
import Torch

/// Measures the drift of a long stream: its distance from the exact style in the last tenth, relative
/// to that in the first tenth.
struct DriftMeasure {
    /// The allowed range of the ratio.
    static let range = 0.9...1.1

    /// The number of frames of the stream, a multiple of 20.
    let frames: Int
    /// The number of frames of the clip that the stream goes through, forward and backward. Every tenth
    /// shows the same frames.
    let loop: Int
    private let targets: StyleTargets
    private var first = Sum()
    private var last = Sum()

    private struct Sum {
        var distance = 0.0
        var frames = 0

        var mean: Double { distance / Double(max(1, frames)) }
    }

    /// Creates a measure for a stream of about `frames` frames over a clip in one style.
    init(_ clip: QualityClip, style: Style, frames: Int) throws(SwanError) {
        let frames = max(1, frames / 20) * 20
        self.frames = frames
        loop = Self.loop(frames: frames, clip: clip.count)
        targets = try StyleTargets(clip, styles: [style], count: loop)
    }

    /// Returns the largest number of frames, up to the clip's length, that can be played forward and
    /// backward a whole number of times within a tenth of the stream.
    static func loop(frames: Int, clip: Int) -> Int {
        let half = max(1, frames / 20)
        let turn = (1...min(half, max(1, clip - 1))).last { half % $0 == 0 } ?? 1
        return turn + 1
    }

    /// Adds the next chunk of the stream.
    mutating func add(_ chunk: MeasuredStream.Chunk) throws(SwanError) {
        let isFirst = chunk.first < frames / 10
        guard isFirst || chunk.first >= frames - frames / 10 else { return }
        let look = try StyleFeatures(targets.target(0, frames: chunk.sources))
        let distance =
            try StyleFeatures(chunk.output).distance(to: look) * Double(chunk.sources.count)
        if isFirst {
            first.distance += distance
            first.frames += chunk.sources.count
        } else {
            last.distance += distance
            last.frames += chunk.sources.count
        }
    }

    /// Returns the results.
    func row(clip: String) -> QualityRow {
        QualityRow(
            measure: .drift,
            clip: clip,
            style: targets.styles[0].name,
            figures: [
                Figure(
                    "last tenth over first",
                    last.mean / max(first.mean, 1e-9),
                    "",
                    .within(Self.range)
                ),
                Figure("distance in the last", last.mean),
                Figure("frames", Double(frames)),
            ]
        )
    }
}
