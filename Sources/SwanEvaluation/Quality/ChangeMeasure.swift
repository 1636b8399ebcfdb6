import SwanTiny
/// Measures how quickly a new prompt takes effect in the middle of a stream.
struct ChangeMeasure {
    /// The number of chunks for each prompt.
    static let chunksPerPrompt = 6
    /// The number of chunks after a prompt change that may still be wrong: the second one must be right.
    static let patience = 1

    private let targets: StyleTargets
    /// The styles in the order in which they are requested, as indices into the targets.
    private let order: [Int]
    private var nearest: [Int] = []

    /// Creates an empty measure for a stream that goes through these styles.
    init(_ targets: StyleTargets, order: [Int]) {
        self.targets = targets
        self.order = order
    }

    /// The number of chunks of the stream.
    var chunks: Int { order.count * Self.chunksPerPrompt }

    /// Returns the prompts, by the stream frame at which each begins.
    func prompts(in stream: MeasuredStream) -> [Int: String] {
        Dictionary(
            uniqueKeysWithValues: order.enumerated().map { index, position in
                let first = stream.firstFrame(ofChunk: index * Self.chunksPerPrompt)
                return (first, QualityPrompts.prompts(for: targets.styles[position])[0])
            }
        )
    }

    /// Adds the next chunk of the stream.
    mutating func add(_ chunk: MeasuredStream.Chunk) throws {
        nearest.append(try targets.nearest(to: chunk.output, frames: chunk.sources))
    }

    /// Returns the results. The first prompt does not count as a change.
    func row(clip: String) -> QualityRow {
        let found = Self.delays(nearest, order: order)
        let slow = zip(order.dropFirst(), found.delays).filter { $0.1 > Self.patience }
            .map { "\(targets.styles[$0.0].name) after \($0.1)" }
        return QualityRow(
            measure: .changes,
            clip: clip,
            figures: [
                Figure(
                    "slowest change",
                    Double(found.delays.max() ?? 0),
                    "chunks",
                    .atMost(Double(Self.patience))
                ),
                Figure(
                    "nearest from then on",
                    found.share,
                    "%",
                    .atLeast(StyleMeasure.leastNearest)
                ),
            ],
            note: slow.isEmpty ? nil : slow.joined(separator: ", ")
        )
    }

    /// Returns, for each change, the number of chunks before the first one that is nearest to the new style;
    /// and, of all chunks after the grace period (`patience`), the percentage that is.
    static func delays(_ nearest: [Int], order: [Int]) -> (delays: [Int], share: Double) {
        var delays: [Int] = []
        var late: [Bool] = []
        for (index, position) in order.enumerated().dropFirst() {
            let hits = nearest.dropFirst(index * chunksPerPrompt).prefix(chunksPerPrompt)
                .map { $0 == position }
            delays.append(hits.firstIndex(of: true) ?? chunksPerPrompt)
            late += hits.dropFirst(patience)
        }
        let share = Double(late.count { $0 }) / Double(max(1, late.count))
        return (delays, 100 * share)
    }
}
