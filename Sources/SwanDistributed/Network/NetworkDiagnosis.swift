package import SwanSystem
package import Torch

/// Measures the network between the ranks of a job.
package struct NetworkDiagnosis {
    private let world: World
    private let device: Device

    /// The bytes of each rank in the measured collectives.
    private static let bytes = 1 << 20
    private static let repetitions = 5

    /// Prepares a measurement; all ranks do this alike.
    ///
    /// - Parameter device: What this rank computes on. Messages are sent from memory.
    package init(_ world: World, device: Device) {
        self.world = world
        self.device = device
    }

    /// Measures all pairs, one after the other, then the collectives and the speed of the ranks.
    ///
    /// - Parameters:
    ///   - count: How often each pair is measured; the median counts.
    ///   - onRound: Called after each round.
    /// - Returns: The report; the same on all ranks.
    package func run(
        repeating count: Int = 1,
        onRound: (Int) -> Void = { _ in }
    ) throws(SwanError) -> NetworkReport {
        var rounds: [[Double]] = []
        for round in 0..<count {
            rounds.append(try pairs())
            onRound(round + 1)
        }
        let figures = rounds[0].indices.map { index in
            LinkProbe.median(rounds.map { $0[index] })
        }
        return NetworkReport(
            world.roster,
            links: links(try gathered(figures)),
            collectives: try collectives(),
            speed: try speed()
        )
    }

    /// Latency and bandwidth from this rank to each.
    private func pairs() throws(SwanError) -> [Double] {
        let probe = LinkProbe(group: world.group)
        var figures = [Double](repeating: 0, count: 2 * world.size)
        for first in 0..<world.size {
            for second in (first + 1)..<max(first + 1, world.size) {
                if [first, second].contains(world.rank) {
                    let peer = first + second - world.rank
                    let link = try probe.measure(peer)
                    (figures[2 * peer], figures[2 * peer + 1]) = (link.latency, link.bandwidth)
                }
                // Pairs of one machine would disturb each other.
                try world.group.barrier()
            }
        }
        return figures
    }

    private func gathered(_ figures: [Double]) throws(SwanError) -> [Double] {
        let whole = try Tensor.empty([world.size * figures.count])
        try world.group.startGather(Tensor(figures.map(Float.init), [figures.count]), into: whole)
            .wait()
        return try whole.array(of: Float.self).map(Double.init)
    }

    private func links(_ figures: [Double]) -> [NetworkReport.Link] {
        (0..<world.size).flatMap { from in
            (0..<world.size).filter { $0 != from }.map { to in
                let index = 2 * (from * world.size + to)
                return NetworkReport.Link(
                    from: from,
                    to: to,
                    latencyMicroseconds: figures[index] * 1e6,
                    gigabytesPerSecond: figures[index + 1] / 1e9
                )
            }
        }
    }

    private func collectives() throws(SwanError) -> [NetworkReport.Collective] {
        let (group, size) = (world.group, world.size)
        let count = Self.bytes / 4 / size * size
        let x = try Tensor.zeros([count])
        let whole = try Tensor.zeros([count * size])
        let parts = [Int](repeating: count / size, count: size)
        let operations: [(String, () throws(SwanError) -> Void)] = [
            ("barrier", group.barrier),
            ("sum of 1 MiB", { () throws(SwanError) in try group.reduce(x) }),
            ("broadcast of 1 MiB", { () throws(SwanError) in try group.broadcast(x, from: 0) }),
            (
                "gather of 1 MiB a rank",
                { () throws(SwanError) in try group.startGather(x, into: whole).wait() }
            ),
            (
                "exchange of 1 MiB a rank",
                { () throws(SwanError) in
                    _ = try group.exchanged(x, sent: parts, received: parts)
                }
            ),
        ]
        var results: [NetworkReport.Collective] = []
        for (name, operation) in operations {
            let seconds = try slowest(median(of: operation))
            results.append(.init(name: name, milliseconds: seconds * 1_000))
        }
        return results
    }

    private func median(of operation: () throws(SwanError) -> Void) throws(SwanError) -> Double {
        var times: [Double] = []
        // The first call opens connections.
        for index in 0...Self.repetitions {
            try world.group.barrier()
            let start = ContinuousClock.now
            try operation()
            if index > 0 { times.append((ContinuousClock.now - start).seconds) }
        }
        return LinkProbe.median(times)
    }

    private func slowest(_ seconds: Double) throws(SwanError) -> Double {
        let x = try Tensor([Float(seconds)], [1])
        try world.group.reduce(x, .max)
        return try x.item()
    }

    /// The operations a second of the slowest rank, in the dtype that models would use.
    private func speed() throws(SwanError) -> Double {
        let size = 1_024
        let dtype: DType = device == .cpu && !Engine.multiplies(.bfloat16) ? .float32 : .bfloat16
        let a = try Tensor.ones([size, size], dtype, device)
        try world.group.barrier()
        var best = Double.infinity
        for index in 0...Self.repetitions {
            let start = ContinuousClock.now
            _ = try matmul(a, a)
            try Engine.synchronize(device)
            if index > 0 { best = min(best, (ContinuousClock.now - start).seconds) }
        }
        return 2 * Double(size * size * size) / (try slowest(best))
    }
}
