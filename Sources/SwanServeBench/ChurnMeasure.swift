import Foundation
import SwanEvaluation
import SwanSystem

extension ServeBenchmark {
    /// The time after which the rest of the cycles is given up.
    private static let churnSeconds = 300.0

    /// Connections that come and go: a third stops its session, a third closes the connection, a third resets it.
    func churn() throws -> ServeBenchRow {
        let request = RealtimeClient.Request()
        let pictures = try TestPictures.jpeg(width: request.width, height: request.height)
        // With one place, the time until the next client gets in is the time until the place is free.
        return try withServer(["--max-sessions", "1"]) { server in
            let deadline = Date.now.addingTimeInterval(Self.churnSeconds)
            var waits: [Double] = []
            var warm = server.resources
            for cycle in 0..<options.cycles where Date.now < deadline {
                // The first connections fill caches.
                if cycle == min(100, options.cycles / 2) { warm = try settled(server) }
                let start = ContinuousClock.now
                let client = try admitted(server, request, pictures, before: deadline)
                if cycle > 0 { waits.append(1_000 * (ContinuousClock.now - start).seconds) }
                for _ in 0...client.chunkFrames { client.sendFrame() }
                switch cycle % 3 {
                case 0: client.stop()
                case 1: client.close()
                default: client.reset()
                }
            }
            let end = try settled(server)
            let chunk = 1_000 * 4 / request.fps
            return ServeBenchRow(
                .churn,
                "connections that come and go, a third of them by a TCP reset",
                [
                    Figure("cycles", Double(waits.count + 1), "", .atLeast(Double(options.cycles))),
                    Figure(
                        "until the next client is in, p99",
                        waits.percentile(0.99),
                        "ms",
                        .atMost(chunk)
                    ),
                    Figure("the same, median", waits.median, "ms"),
                    Figure("memory", Double(end.memoryBytes) / 1e6, "MB"),
                    Figure(
                        "memory over that after warm-up",
                        Double(end.memoryBytes) / Double(warm.memoryBytes),
                        "",
                        .atMost(1.05)
                    ),
                    Figure(
                        "descriptors gained",
                        Double(end.descriptors - warm.descriptors),
                        "",
                        .atMost(0)
                    ),
                    Figure("threads gained", Double(end.threads - warm.threads), "", .atMost(0)),
                ]
            )
        }
    }

    /// Connects a client, which is refused while the last one's place is taken.
    private func admitted(
        _ server: ServerProcess,
        _ request: RealtimeClient.Request,
        _ pictures: [[UInt8]],
        before deadline: Date
    ) throws -> RealtimeClient {
        while true {
            do {
                return try connect(server, request, pictures: pictures)
            } catch let error as SwanError {
                guard Date.now < deadline else { throw error }
                sleep(0.005)
            }
        }
    }

    /// What the server holds when all sessions have ended.
    private func settled(_ server: ServerProcess) throws -> ServerProcess.Resources {
        sleep(3)
        return server.resources
    }
}
