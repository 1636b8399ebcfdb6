import Foundation
import SwanEvaluation
import SwanServer
import SwanSystem

extension ServeBenchmark {
    // MARK: - Sessions at their rate

    /// Four sessions at their rate.
    func sessions() throws -> ServeBenchRow {
        let (count, rate) = (4, 8.0)
        return try withServer { server in
            let clients = try (0..<count).map { index in
                try connect(
                    server,
                    .init(prompt: Self.prompts[index % Self.prompts.count], fps: rate)
                )
            }
            for client in clients { client.play(framesPerSecond: rate) }
            for client in clients { try client.waitForFrames(3 * client.chunkFrames) }
            for client in clients { client.forget() }
            sleep(options.seconds)
            for client in clients { client.pause() }
            let frames = clients.map { Double($0.outputs.count) }
            let latencies = clients.flatMap(\.outputs).map { 1_000 * $0.latency }
            for client in clients { client.stop() }
            // A window can begin and end within a chunk.
            let expected = rate * options.seconds - Double(clients[0].chunkFrames)
            let (least, most) = (frames.min() ?? 0, frames.max() ?? 0)
            return ServeBenchRow(
                .sessions,
                "\(count) sessions of 128x128 at \(Int(rate)) frames/s, \(Int(options.seconds)) s",
                [
                    Figure(
                        "frames of the slowest over expected",
                        least / expected,
                        "",
                        .atLeast(1)
                    ),
                    Figure(
                        "frames dropped",
                        Double(clients.map(\.dropped).reduce(0, +)),
                        "",
                        .atMost(0)
                    ),
                    Figure("most over least frames", most / least, "", .atMost(1.1)),
                    Figure("p50", latencies.percentile(0.5), "ms"),
                    Figure("p95", latencies.percentile(0.95), "ms"),
                ]
            )
        }
    }

    /// Prompts of different sessions.
    static let prompts = ["pencil sketch", "at night", "sepia", "comic"]

    // MARK: - Batching

    private struct Throughput {
        let framesPerSecond: Double
        /// The processors in use on average.
        let processors: Double
        let stages: RealtimeClient.Note.Stages?
    }

    /// The rate of four sessions over that of one.
    ///
    /// The stages of one session run at the same time. Where that leaves few processors idle, four can gain little
    /// more than these: the bound is then what the idle ones allow.
    func batching() throws -> ServeBenchRow {
        var (one, four): ([Throughput], [Throughput]) = ([], [])
        for _ in 0..<options.rounds {
            one.append(try withServer { try throughput($0, sessions: 1) })
            four.append(try withServer { try throughput($0, sessions: 4) })
        }
        let ratio = zip(one, four).map { $1.framesPerSecond / $0.framesPerSecond }.median
        let (used, all) = (
            one.map(\.processors).median, Double(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        )
        let isFull = all / used < 1.3
        let reason =
            isFull ? "the bound is what the processors that one session leaves allow; " : ""
        return ServeBenchRow(
            .batching,
            "frames a second of 4 equal sessions over that of 1, 128x128, as fast as they come",
            [
                Figure("4 sessions over 1", ratio, "", .atLeast(min(1.3, all / used))),
                Figure("1 session", one.map(\.framesPerSecond).median, "frames/s"),
                Figure("4 sessions", four.map(\.framesPerSecond).median, "frames/s"),
                Figure("processors that 1 session uses", used, "of \(Int(all))"),
                Figure("4 sessions use", four.map(\.processors).median, "of \(Int(all))"),
            ],
            note: reason + "milliseconds a chunk: " + stages(one, "of 1") + "; "
                + stages(four, "of 4")
        )
    }

    private func throughput(_ server: ServerProcess, sessions: Int) throws -> Throughput {
        let clients = try (0..<sessions).map { _ in
            try connect(server, .init(presentation: "lossless"))
        }
        // Chunks for each stage: one that is encoded, two that are denoised, one that is decoded.
        for client in clients { client.fill(4 * client.chunkFrames) }
        for client in clients { try client.waitForFrames(3 * client.chunkFrames) }
        for client in clients { client.forget() }
        let (start, used) = (ContinuousClock.now, server.processorSeconds)
        sleep(roundSeconds)
        let frames = clients.map(\.outputs.count).reduce(0, +)
        let seconds = (ContinuousClock.now - start).seconds
        for client in clients { client.stop() }
        return Throughput(
            framesPerSecond: Double(frames) / seconds,
            processors: (server.processorSeconds - used) / seconds,
            stages: clients[0].stats?.stagesMs
        )
    }

    private func stages(_ rounds: [Throughput], _ name: String) -> String {
        func median(_ stage: (RealtimeClient.Note.Stages) -> Double?) -> String {
            String(format: "%.1f", rounds.compactMap(\.stages).compactMap(stage).median)
        }
        return "\(name): encode \(median(\.encode)), denoise \(median(\.denoise)), "
            + "decode \(median(\.vaeDecode))"
    }

    // MARK: - Prompts

    /// From a new prompt to its first frame.
    func prompt() throws -> ServeBenchRow {
        let rate = 16.0
        let (chunks, times): ([Double], [Double]) = try withServer { server in
            let client = try connect(server, .init(width: 256, height: 256, fps: rate))
            defer { client.stop() }
            client.play(framesPerSecond: rate)
            try client.waitForFrames(5 * client.chunkFrames)
            var (chunks, times): ([Double], [Double]) = ([], [])
            for change in 0..<10 {
                client.forget()
                let (event, next) = (UInt32(change + 2), client.nextSequence)
                let start = ContinuousClock.now
                client.change(prompt: Self.prompts[(change + 1) % Self.prompts.count], event: event)
                let first = try client.waitForEffect(of: event)
                times.append(1_000 * (first.time - start).seconds)
                // The frame that was due next is in the first chunk that the change could shape.
                let frames = Double(first.header.sequence) - Double(next)
                chunks.append(1 + max(0, frames / Double(client.chunkFrames)).rounded(.up))
                // Changes come at different places of a chunk.
                sleep(0.5 + Double(change) * 0.07)
            }
            return (chunks, times)
        }
        return ServeBenchRow(
            .prompt,
            "from a new prompt to the first frame with its number, 256x256 at 16 frames/s, 10 changes",
            [
                Figure(
                    "chunk that shows it, counted from the one being filled",
                    chunks.max() ?? .nan,
                    "",
                    .atMost(2)
                ),
                Figure("median of the chunks", chunks.median),
                Figure("median time", times.median, "ms"),
                Figure("longest time", times.max() ?? .nan, "ms"),
            ]
        )
    }

    // MARK: - Start

    /// From the start of the program to its first answer.
    func start() throws -> ServeBenchRow {
        let rounds = 5
        let times = try (0..<rounds).map { _ in
            let start = ContinuousClock.now
            return try withServer { server in
                let status = try HTTPProbe.status(of: "/readyz", port: server.port, on: loop)
                guard status == 200 else {
                    throw SwanError(.libraryFailed, "/readyz answers \(status) after the start")
                }
                return (ContinuousClock.now - start).seconds
            }
        }
        return ServeBenchRow(
            .start,
            "from the start of the program to a 200 of /readyz, \(rounds) starts",
            [
                Figure("median", times.median, "s", .atMost(1)),
                Figure("longest", times.max() ?? .nan, "s"),
            ]
        )
    }
}
