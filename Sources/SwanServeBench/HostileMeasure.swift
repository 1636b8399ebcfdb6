import Foundation
import SwanEvaluation

/// A round of `hostile`: the latencies of a session alone and beside hostile clients, in milliseconds.
struct HostileRound {
    var alone: [Double] = []
    var beside: [Double] = []

    /// Of all rounds, the median counts: the machine may be busy with something else during one.
    static func figures(_ rounds: [HostileRound], dropped: Int) -> [Figure] {
        func median(_ value: (HostileRound) -> Double) -> Double { rounds.map(value).median }
        return [
            Figure(
                "p99 over that alone",
                median { $0.beside.percentile(0.99) / $0.alone.percentile(0.99) },
                "",
                .atMost(1.5)
            ),
            Figure("frames dropped", Double(dropped)),
            Figure("p99 alone", median { $0.alone.percentile(0.99) }, "ms"),
            Figure("p99 beside", median { $0.beside.percentile(0.99) }, "ms"),
        ]
    }
}

extension ServeBenchmark {
    /// A session alone and beside hostile clients, in turns.
    func hostile() throws -> ServeBenchRow {
        let rate = 8.0
        return try withServer { server in
            let client = try connect(server, .init(fps: rate))
            defer { client.stop() }
            client.play(framesPerSecond: rate)
            try client.waitForFrames(5 * client.chunkFrames)
            var rounds: [HostileRound] = []
            var dropped = 0
            var summary = ""
            for _ in 0..<options.rounds {
                client.forget()
                sleep(roundSeconds)
                var round = HostileRound()
                round.alone = client.outputs.map { 1_000 * $0.latency }
                let hostile = try HostileClients(port: server.port, on: loop)
                sleep(1)
                client.forget()
                sleep(roundSeconds)
                round.beside = client.outputs.map { 1_000 * $0.latency }
                rounds.append(round)
                dropped += client.dropped
                summary = hostile.summary
                hostile.stop()
                sleep(2)
            }
            return ServeBenchRow(
                .hostile,
                "a session of 128x128 at \(Int(rate)) frames/s beside hostile clients",
                HostileRound.figures(rounds, dropped: dropped),
                note: summary + " a round of \(Int(roundSeconds)) s"
            )
        }
    }
}
