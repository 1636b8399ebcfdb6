import Foundation
import SwanSystem
import Torch
import SwanTiny

/// Measures how well a stream follows one style, accumulated chunk by chunk.
struct StyleMeasure {
    /// The minimum percentage of chunks whose nearest style is the requested one.
    static let leastNearest = 90.0
    /// The minimum structural similarity to the exact target.
    static let leastSSIM = 0.6
    /// The maximum energy of frame-to-frame changes, relative to that of the exact target.
    static let mostFlicker = 1.3

    private let targets: StyleTargets
    private let position: Int
    /// The prompts, sorted by the frame at which each begins.
    private let prompts: [(first: Int, text: String)]
    private var nearest: [(style: Int, prompt: String)] = []
    private var similarities: [Double] = []
    private var squaredErrors: [Double] = []
    private var last: (output: Tensor, target: Tensor)?
    private var changes = (output: 0.0, target: 0.0)

    /// Creates an empty measure for the style with index `position`.
    init(_ targets: StyleTargets, position: Int, prompts: [Int: String]) {
        self.targets = targets
        self.position = position
        self.prompts = prompts.map { (first: $0.key, text: $0.value) }
            .sorted { $0.first < $1.first }
    }

    /// Adds the next chunk of the stream.
    mutating func add(_ chunk: MeasuredStream.Chunk) throws(SwanError) {
        let (output, target) = (
            chunk.output, try targets.target(position, frames: chunk.sources)
        )
        let end = chunk.first + chunk.sources.count
        let prompt = prompts.last { $0.first < end }?.text ?? ""
        nearest.append((try targets.nearest(to: output, frames: chunk.sources), prompt))
        similarities += try PictureQuality.ssim(output, target).array(of: Double.self)
        squaredErrors += try (output - target).pow(2).mean([1, 2, 3]).array(of: Double.self)
        let run = try last.map { last throws(SwanError) in
            (try concatenated([last.output, output]), try concatenated([last.target, target]))
        }
        changes.output += try PictureQuality.changes(run?.0 ?? output).sum().item()
        changes.target += try PictureQuality.changes(run?.1 ?? target).sum().item()
        last = (try output.sliced(0, from: -1), try target.sliced(0, from: -1))
    }

    /// Returns the results.
    func row(clip: String) -> QualityRow {
        let hits = nearest.count { $0.style == position }
        let share = 100 * Double(hits) / Double(max(1, nearest.count))
        // Static areas may change by one level, which is invisible.
        let level = Double(similarities.count - 1) / (255 * 255)
        return QualityRow(
            measure: .styles,
            clip: clip,
            style: targets.styles[position].name,
            figures: [
                Figure("nearest", share, "%", .atLeast(Self.leastNearest)),
                Figure("SSIM", Self.mean(similarities), "", .atLeast(Self.leastSSIM)),
                Figure(
                    "flicker",
                    changes.output / max(changes.target, level),
                    "",
                    .atMost(Self.mostFlicker)
                ),
                Figure(
                    "PSNR",
                    PictureQuality.psnr(squaredError: Self.mean(squaredErrors)),
                    "dB"
                ),
            ],
            note: misses
        )
    }

    /// The styles that chunks were nearest to instead, and the prompts of those chunks.
    private var misses: String? {
        let wrong = nearest.filter { $0.style != position }
        guard !wrong.isEmpty else { return nil }
        let names = Dictionary(grouping: wrong) { targets.styles[$0.style].name }
            .mapValues(\.count).sorted { ($1.value, $0.key) < ($0.value, $1.key) }
            .map { "\($0.key) in \($0.value)" }
        let asked = prompts.map(\.text).filter { text in wrong.contains { $0.prompt == text } }
            .map { "'\($0)'" }
        return
            "of \(nearest.count) chunks nearest to \(names.joined(separator: ", ")), prompted by "
            + asked.joined(separator: ", ")
    }

    private static func mean(_ values: [Double]) -> Double {
        values.reduce(0, +) / Double(max(1, values.count))
    }
}
