import Foundation
import SwanDistributed
import SwanModels
import SwanSystem

/// What live streams and whole videos would reach on 1 to 64 ranks, by simulation.
package struct SimulationTable: Sendable, Encodable {
    /// A live stream on a number of ranks.
    package struct Row: Sendable, Encodable {
        let layout: StreamSimulation.Layout
        let link: String
        let ranks: Int
        let framesPerSecond, delay, speedup: Double
        let hasOwnAutoencoders: Bool

        private enum CodingKeys: String, CodingKey {
            case layout, link, ranks, framesPerSecond = "frames_per_s", delay = "delay_s", speedup
            case hasOwnAutoencoders = "own_autoencoder_ranks"
        }
    }

    /// A forward of a whole video's transformer with its tokens divided.
    package struct VideoRow: Sendable, Encodable {
        let model, link: String
        let ranks: Int
        let way: CommunicationModel.Way
        let seconds, speedup: Double
    }

    /// The numbers of ranks.
    package static let ranks = [1, 2, 4, 8, 16, 32, 64]

    /// The costs, for people.
    package let costs: String
    package let stream: [Row]
    package let videos: [VideoRow]

    /// Simulates with the costs of a chunk, and with a device's floating-point operations a second.
    package init(_ costs: StreamSimulation.Costs, speed: Double) {
        self.costs = String(
            format:
                "%d blocks of %.4g ms for %d steps, encoding %.4g ms, decoding %.4g ms a chunk; "
                + "%.3g TFLOP/s",
            costs.blocks,
            costs.block * 1_000,
            costs.steps,
            costs.encode * 1_000,
            costs.decode * 1_000,
            speed / 1e12
        )
        stream = StreamSimulation.Link.usual.flatMap { link in
            StreamSimulation.Layout.allCases.flatMap { layout in
                Self.rows(StreamSimulation(costs, layout, link), layout, link)
            }
        }
        videos = StreamSimulation.Link.usual.flatMap { link in
            CommunicationModel.Workload.usual.filter { $0.tokens > 10_000 }.flatMap { work in
                Self.ranks.map { Self.row(work, link, ranks: $0, speed: speed) }
            }
        }
    }

    private static func rows(
        _ simulation: StreamSimulation,
        _ layout: StreamSimulation.Layout,
        _ link: StreamSimulation.Link
    ) -> [Row] {
        let one = simulation.result(ranks: 1)?.framesPerSecond ?? 1
        return ranks.compactMap { count in
            simulation.result(ranks: count).map {
                Row(
                    layout: layout,
                    link: link.name,
                    ranks: count,
                    framesPerSecond: $0.framesPerSecond,
                    delay: $0.delay,
                    speedup: $0.framesPerSecond / one,
                    hasOwnAutoencoders: $0.hasOwnAutoencoders
                )
            }
        }
    }

    private static func row(
        _ work: CommunicationModel.Workload,
        _ link: StreamSimulation.Link,
        ranks: Int,
        speed: Double
    ) -> VideoRow {
        let model = CommunicationModel(
            bandwidth: link.bandwidth,
            latency: link.latency,
            speed: speed
        )
        let way: CommunicationModel.Way = ranks > work.config.heads ? .ring : .ulysses
        let seconds = model.computing(work, ranks: ranks) + model.seconds(way, work, ranks: ranks)
        return VideoRow(
            model: work.name,
            link: link.name,
            ranks: ranks,
            way: way,
            seconds: seconds,
            speedup: model.computing(work, ranks: 1) / seconds
        )
    }

    /// The tables in Markdown.
    package var text: String {
        let header =
            "| link | layout | " + Self.ranks.map { "\($0)" }.joined(separator: " | ") + " |"
        let rule = "|---|---|" + Self.ranks.map { _ in "---|" }.joined()
        let lines =
            ["Live stream, frames/s (delay in s); \(costs)", "", header, rule]
            + StreamSimulation.Link.usual.flatMap { link in
                StreamSimulation.Layout.allCases.map { streamLine($0, link.name) }
            }
        let videoHeader =
            "| model | link | " + Self.ranks.map { "\($0)" }.joined(separator: " | ") + " |"
        var models: [String] = []
        for row in videos where !models.contains(row.model) { models.append(row.model) }
        let videoLines =
            ["", "A forward of a whole video, seconds", "", videoHeader, rule]
            + models.flatMap { model in
                StreamSimulation.Link.usual.map { videoLine(model, $0.name) }
            }
        return (lines + videoLines).joined(separator: "\n")
    }

    private func streamLine(_ layout: StreamSimulation.Layout, _ link: String) -> String {
        let cells = Self.ranks.map { count in
            stream.first { ($0.layout, $0.link, $0.ranks) == (layout, link, count) }
                .map { String(format: "%.3g (%.2g)", $0.framesPerSecond, $0.delay) } ?? "–"
        }
        return "| \(link) | \(layout.rawValue) | " + cells.joined(separator: " | ") + " |"
    }

    private func videoLine(_ model: String, _ link: String) -> String {
        let cells = Self.ranks.map { count in
            videos.first { ($0.model, $0.link, $0.ranks) == (model, link, count) }
                .map { String(format: "%.3g", $0.seconds) } ?? "–"
        }
        return "| \(model) | \(link) | " + cells.joined(separator: " | ") + " |"
    }
}
