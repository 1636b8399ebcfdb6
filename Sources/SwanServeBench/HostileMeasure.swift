import Foundation
import SwanEvaluation

extension ServeBenchmark {
    /// A session alone and beside hostile clients, in turns.
    func hostile() throws -> ServeBenchRow {
        let rate = 8.0
        return try withServer { server in
            let client = try connect(server, .init(fps: rate))
            defer { client.stop() }
            client.play(framesPerSecond: rate)
            try client.waitForFrames(5 * client.chunkFrames)
            var (alone, beside): ([Double], [Double]) = ([], [])
            var dropped = 0
            var summary = ""
            for _ in 0..<options.rounds {
                client.forget()
                sleep(roundSeconds)
                alone += client.outputs.map { 1_000 * $0.latency }
                let hostile = HostileClients(port: server.port, on: loop)
                sleep(1)
                client.forget()
                sleep(roundSeconds)
                beside += client.outputs.map { 1_000 * $0.latency }
                dropped += client.dropped
                summary = hostile.summary
                hostile.stop()
                sleep(2)
            }
            let (p99, before) = (beside.percentile(0.99), alone.percentile(0.99))
            return ServeBenchRow(
                .hostile,
                "a session of 128x128 at \(Int(rate)) frames/s beside hostile clients",
                [
                    Figure("p99 over that alone", p99 / before, "", .atMost(1.5)),
                    Figure("frames dropped", Double(dropped)),
                    Figure("p99 alone", before, "ms"),
                    Figure("p99 beside", p99, "ms"),
                ],
                note: summary + " a round of \(Int(roundSeconds)) s"
            )
        }
    }
}
