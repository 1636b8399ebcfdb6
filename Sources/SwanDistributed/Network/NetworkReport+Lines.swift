import Foundation

extension NetworkReport {
    /// The report for people.
    package var lines: [String] {
        ranks.map { "rank \($0.rank): \($0.host), process \($0.process), \($0.device)" }
            + [""] + table("latency, us", \.latencyMicroseconds, "%.0f")
            + [""] + table("bandwidth, GB/s", \.gigabytesPerSecond, "%.2f")
            + [""] + collectiveLines + [""] + predictionLines
    }

    /// A figure of each link: rows send, columns receive.
    private func table(
        _ title: String,
        _ figure: KeyPath<Link, Double>,
        _ format: String
    ) -> [String] {
        let figures = Dictionary(
            uniqueKeysWithValues: links.map { ([$0.from, $0.to], $0[keyPath: figure]) }
        )
        let header = Self.row(title, ranks.map { "to \($0.rank)" })
        return [header]
            + ranks.map { from in
                Self.row(
                    "from \(from.rank)",
                    ranks.map { to in
                        figures[[from.rank, to.rank]].map { String(format: format, $0) } ?? "-"
                    }
                )
            }
    }

    private var collectiveLines: [String] {
        collectives.map { Self.row($0.name, [String(format: "%.2f ms", $0.milliseconds)]) } + [
            Self.row("computing, slowest rank", [String(format: "%.3f TFLOP/s", teraflopsPerRank)])
        ]
    }

    private var predictionLines: [String] {
        let ways = CommunicationModel.Way.allCases.map(\.rawValue)
        let header = Self.row("one forward", ["computing"] + ways + ["binds", "speed-up"])
        return [header]
            + predictions.map { prediction in
                Self.row(
                    prediction.model,
                    [Self.time(prediction.computingSeconds)]
                        + ways.map { Self.time(prediction.exchangeSeconds[$0] ?? 0) }
                        + [prediction.binds, String(format: "%.2f x", prediction.speedup)]
                )
            } + [
                "ulysses and ring divide the tokens, sharded the weights, stages the blocks. What binds "
                    + "and the",
                "speed-up over one rank are those of divided tokens (ulysses, and a ring of such groups "
                    + "where",
                "there are more ranks than heads), without hiding exchanges.",
            ]
    }

    private static func row(_ name: String, _ cells: [String]) -> String {
        name.padding(toLength: max(24, name.count), withPad: " ", startingAt: 0)
            + cells.map { String(repeating: " ", count: max(1, 13 - $0.count)) + $0 }.joined()
    }

    private static func time(_ seconds: Double) -> String {
        switch seconds {
        case ..<1: String(format: "%.1f ms", seconds * 1_000)
        case ..<100: String(format: "%.1f s", seconds)
        case ..<6_000: String(format: "%.1f min", seconds / 60)
        default: String(format: "%.1f h", seconds / 3_600)
        }
    }
}
