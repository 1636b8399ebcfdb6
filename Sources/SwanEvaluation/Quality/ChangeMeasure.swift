import SwanTiny
/// How soon another prompt takes hold in the middle of a stream.
struct ChangeMeasure {
    /// Chunks that each prompt stands for.
    static let chunksPerPrompt = 6
    /// Chunks after a change of prompt that may still look otherwise: the second has to be right.
    static let patience = 1

    private let targets: StyleTargets
    /// The styles in the order they are asked for, as numbers among the targets.
    private let order: [Int]
    private var nearest: [Int] = []

    /// Nothing yet, of a stream that goes through these styles.
    init(_ targets: StyleTargets, order: [Int]) {
        self.targets = targets
        self.order = order
    }

    /// Chunks of the stream.
    var chunks: Int { order.count * Self.chunksPerPrompt }

    /// The prompts by the stream's frame that they begin at.
    func prompts(in stream: MeasuredStream) -> [Int: String] {
        Dictionary(
            uniqueKeysWithValues: order.enumerated().map { index, position in
                let first = stream.firstFrame(ofChunk: index * Self.chunksPerPrompt)
                return (first, QualityPrompts.prompts(for: targets.styles[position])[0])
            }
        )
    }

    /// Takes the stream's next chunk.
    mutating func add(_ chunk: MeasuredStream.Chunk) throws {
        nearest.append(try targets.nearest(to: chunk.output, frames: chunk.sources))
    }

    /// What was found. The first prompt is no change.
    func row(clip: String) -> QualityRow {
        let found = Self.delays(nearest, order: order)
        let slow = zip(order.dropFirst(), found.delays).filter { $0.1 > Self.patience }
            .map { "\(targets.styles[$0.0].name) after \($0.1)" }
        return QualityRow(
            measure: .changes,
            clip: clip,
            figures: [
                QualityFigure(
                    "slowest change",
                    Double(found.delays.max() ?? 0),
                    "chunks",
                    .atMost(Double(Self.patience))
                ),
                QualityFigure(
                    "nearest from then on",
                    found.share,
                    "%",
                    .atLeast(StyleMeasure.leastNearest)
                ),
            ],
            note: slow.isEmpty ? nil : slow.joined(separator: ", ")
        )
    }

    /// For each change the chunks before the first that is nearest to the new style, and of all
    /// chunks after those that may still look otherwise how many of a hundred are.
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
