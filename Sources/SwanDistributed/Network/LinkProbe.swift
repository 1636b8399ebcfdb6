import SwanSystem
import Torch

/// Measures the way from one rank to another; both call it at the same time.
struct LinkProbe {
    let group: ProcessGroup

    /// What was measured at the sender.
    struct Link: Sendable {
        /// Seconds of a message of a few bytes, one way.
        var latency: Double
        /// Bytes per second of large messages, from this rank to the peer.
        var bandwidth: Double
    }

    private static let rounds = 20
    /// A message takes about so long, within limits of its size.
    private static let seconds = 0.1
    private static let sizes = (1 << 16)...(1 << 23)
    private enum Tag { static let (small, large, answer) = (1, 2, 3) }

    /// Measures the links between this rank and a peer, in both directions.
    func measure(_ peer: Int) throws(SwanError) -> Link {
        let isFirst = group.rank < peer
        let latency = try latency(peer, isFirst: isFirst)
        var bandwidth = 0.0
        for sends in [isFirst, !isFirst] {
            if sends {
                bandwidth = try send(peer, latency)
            } else {
                try receive(peer)
            }
        }
        return Link(latency: latency, bandwidth: bandwidth)
    }

    /// The median over messages there and back.
    private func latency(_ peer: Int, isFirst: Bool) throws(SwanError) -> Double {
        let x = try Tensor.zeros([1])
        var times: [Double] = []
        for _ in 0..<Self.rounds {
            let start = ContinuousClock.now
            if isFirst { try group.startSend(x, to: peer, tag: Tag.small).wait() }
            try group.startReceive(x, from: peer, tag: Tag.small).wait()
            if !isFirst { try group.startSend(x, to: peer, tag: Tag.small).wait() }
            times.append((ContinuousClock.now - start).seconds / 2)
        }
        // The second rank's first round begins with waiting for the first.
        return Self.median(Array(times.dropFirst()))
    }

    /// The bandwidth of the best of three messages, after one that tells which size is suitable.
    private func send(_ peer: Int, _ latency: Double) throws(SwanError) -> Double {
        let first = try time(peer, bytes: Self.sizes.lowerBound)
        let rate = Double(Self.sizes.lowerBound) / first
        let bytes = min(
            max(Int(rate * Self.seconds), Self.sizes.lowerBound),
            Self.sizes.upperBound
        )
        try group.startSend(Tensor([Float(bytes / 4)], [1]), to: peer, tag: Tag.small).wait()
        var best = Double.infinity
        for _ in 0..<3 { best = min(best, try time(peer, bytes: bytes / 4 * 4)) }
        return Double(bytes) / max(best - 2 * latency, best / 10)
    }

    private func time(_ peer: Int, bytes: Int) throws(SwanError) -> Double {
        let x = try Tensor.zeros([bytes / 4])
        let start = ContinuousClock.now
        try group.startSend(x, to: peer, tag: Tag.large).wait()
        try group.startReceive(Tensor.zeros([1]), from: peer, tag: Tag.answer).wait()
        return (ContinuousClock.now - start).seconds
    }

    private func receive(_ peer: Int) throws(SwanError) {
        try answer(peer, bytes: Self.sizes.lowerBound)
        let size = try Tensor.zeros([1])
        try group.startReceive(size, from: peer, tag: Tag.small).wait()
        for _ in 0..<3 { try answer(peer, bytes: Int(size.item()) * 4) }
    }

    private func answer(_ peer: Int, bytes: Int) throws(SwanError) {
        try group.startReceive(Tensor.empty([bytes / 4]), from: peer, tag: Tag.large).wait()
        try group.startSend(Tensor.zeros([1]), to: peer, tag: Tag.answer).wait()
    }

    static func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }
}
