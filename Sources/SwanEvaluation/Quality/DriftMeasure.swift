import SwanSystem
import SwanTiny
import Torch

/// Whether a long stream ends as it began: its distance from the exact style in the last tenth, over
/// that in the first.
struct DriftMeasure {
    /// Where the ratio has to stay.
    static let range = 0.9...1.1

    /// Frames of the stream: a multiple of 20.
    let frames: Int
    /// Frames of the clip that it goes through, forward and backward. All tenths show the same ones.
    let loop: Int
    private let targets: StyleTargets
    private var first = Sum()
    private var last = Sum()

    private struct Sum {
        var distance = 0.0
        var frames = 0

        var mean: Double { distance / Double(max(1, frames)) }
    }

    /// A stream of some `frames` frames over a clip in one style.
    init(_ clip: QualityClip, style: Style, frames: Int) throws(SwanError) {
        let frames = max(1, frames / 20) * 20
        self.frames = frames
        loop = Self.loop(frames: frames, clip: clip.count)
        targets = try StyleTargets(clip, styles: [style], count: loop)
    }

    /// The largest number of frames, of those a clip has, that goes forward and backward a whole
    /// number of times within a tenth of the stream.
    static func loop(frames: Int, clip: Int) -> Int {
        let half = max(1, frames / 20)
        let turn = (1...min(half, max(1, clip - 1))).last { half % $0 == 0 } ?? 1
        return turn + 1
    }

    /// Takes the stream's next chunk.
    mutating func add(_ chunk: MeasuredStream.Chunk) throws(SwanError) {
        let isFirst = chunk.first < frames / 10
        guard isFirst || chunk.first >= frames - frames / 10 else { return }
        let look = try Look(targets.target(0, frames: chunk.sources))
        let distance = try Look(chunk.output).distance(to: look) * Double(chunk.sources.count)
        if isFirst {
            first.distance += distance
            first.frames += chunk.sources.count
        } else {
            last.distance += distance
            last.frames += chunk.sources.count
        }
    }

    /// What was found.
    func row(clip: String) -> QualityRow {
        QualityRow(
            measure: .drift,
            clip: clip,
            style: targets.styles[0].name,
            figures: [
                QualityFigure(
                    "last tenth over first",
                    last.mean / max(first.mean, 1e-9),
                    "",
                    .within(Self.range)
                ),
                QualityFigure("distance in the last", last.mean),
                QualityFigure("frames", Double(frames)),
            ]
        )
    }
}
