import SwanDistributed

/// A live stream in a pipeline of ranks, played through with measured times.
///
/// Each stage computes one iteration after the other; its message travels while it computes the next
/// one, and at most one message of a stage is under way. Nothing else is hidden or assumed: what
/// comes out is the rate and the delay of the last chunks of a long stream.
package struct StreamSimulation: Sendable {
    /// What one chunk costs on one device.
    package struct Costs: Sendable {
        /// The seconds of one block for the rows of all denoising steps.
        package var block: Double
        /// The seconds of encoding and of decoding a chunk.
        package var encode, decode: Double
        /// The number of blocks, and of denoising steps.
        package var blocks, steps: Int
        /// The bytes of one row between blocks, and of its latents.
        package var hiddenBytes, latentBytes: Double
        /// The number of frames of a chunk.
        package var frames = 4

        /// Describes the costs of a chunk.
        package init(
            block: Double,
            encode: Double,
            decode: Double,
            blocks: Int,
            steps: Int,
            hiddenBytes: Double,
            latentBytes: Double
        ) {
            (self.block, self.encode, self.decode) = (block, encode, decode)
            (self.blocks, self.steps) = (blocks, steps)
            (self.hiddenBytes, self.latentBytes) = (hiddenBytes, latentBytes)
        }
    }

    /// A way from one rank to another.
    package struct Link: Sendable, Encodable {
        /// A name for people.
        package let name: String
        /// Bytes a second.
        package let bandwidth: Double
        /// Seconds.
        package let latency: Double

        /// Describes a link.
        package init(_ name: String, bandwidth: Double, latency: Double) {
            (self.name, self.bandwidth, self.latency) = (name, bandwidth, latency)
        }

        /// NVLink between GPUs of one machine, PCI Express 4.0 with 16 lanes, and 10 Gbit/s Ethernet.
        package static let usual = [
            Link("NVLink", bandwidth: 450e9, latency: 10e-6),
            Link("PCIe 4", bandwidth: 25e9, latency: 20e-6),
            Link("10GbE", bandwidth: 1.18e9, latency: 60e-6),
        ]
    }

    /// What the ranks divide.
    package enum Layout: String, Sendable, CaseIterable, Encodable {
        /// The blocks, each for all denoising steps.
        case blocks
        /// The denoising steps, each with all blocks.
        case steps
    }

    /// What a number of ranks reaches.
    package struct Result: Sendable, Encodable, Equatable {
        /// Frames a second.
        package let framesPerSecond: Double
        /// The seconds from the start of a chunk's encoding to the end of its decoding.
        package let delay: Double
        /// Whether the first and the last rank only encode and decode.
        package let hasOwnAutoencoders: Bool
    }

    private let costs: Costs
    private let layout: Layout
    private let link: Link

    /// Prepares a simulation.
    package init(_ costs: Costs, _ layout: Layout, _ link: Link) {
        (self.costs, self.layout, self.link) = (costs, layout, link)
    }

    /// Plays a stream over a number of ranks; nil if there are more ranks than work to divide.
    ///
    /// With three ranks or more, encoder and decoder may have ranks of their own; the better way is
    /// returned.
    package func result(ranks: Int) -> Result? {
        let shared = play(stages(ranks), ownAutoencoders: false)
        guard ranks > 2, let inner = stages(ranks - 2, isFree: true) else { return shared }
        let own = [[costs.encode], inner, [costs.decode]].flatMap(\.self)
        return [shared, play(own, ownAutoencoders: true)].compactMap(\.self)
            .max { $0.framesPerSecond < $1.framesPerSecond }
    }

    /// The seconds that each stage computes in an iteration.
    ///
    /// - Parameter isFree: Whether others encode and decode.
    private func stages(_ count: Int, isFree: Bool = false) -> [Double]? {
        let parts = layout == .blocks ? costs.blocks : costs.steps
        guard count <= parts else { return nil }
        let one =
            layout == .blocks
            ? costs.block : costs.block * Double(costs.blocks) / Double(costs.steps)
        var fixed = [Double](repeating: 0, count: count)
        if !isFree {
            fixed[0] += costs.encode
            fixed[count - 1] += costs.decode
        }
        // Each part goes to the stage that has the least to do with it.
        var times = fixed.map { $0 + one }
        for _ in count..<parts {
            guard let next = times.indices.min(by: { times[$0] < times[$1] }) else { break }
            times[next] += one
        }
        return times
    }

    /// Plays a stream and measures its second half.
    private func play(_ stages: [Double]?, ownAutoencoders: Bool) -> Result? {
        guard let stages else { return nil }
        let ranks = stages.count
        let denoising = ownAutoencoders ? 1..<(ranks - 1) : 0..<ranks
        // A chunk meets each step a round after the one before, and leaves after the last.
        let round = layout == .blocks ? denoising.count : 0
        let rounds = round * (costs.steps - 1)
        let count = 60 + 4 * (rounds + ranks)
        var begin = [[Double]](repeating: [], count: ranks)
        var end = begin
        var sent = [Double](repeating: 0, count: ranks)
        for iteration in 0..<count {
            for rank in 0..<ranks {
                var start = end[rank].last ?? 0
                if rank > 0 { start = max(start, sent[rank - 1] + link.latency) }
                if round > 0, rank == denoising.lowerBound, iteration >= round {
                    let back = end[denoising.upperBound - 1][iteration - round]
                    start = max(start, back + (denoising.count > 1 ? hop(costs.latentBytes) : 0))
                }
                let finish = max(start + stages[rank], sent[rank])
                begin[rank].append(start)
                end[rank].append(finish)
                sent[rank] =
                    finish + (rank < ranks - 1 ? bytes(after: rank, denoising) : 0)
                    / link.bandwidth
            }
        }
        let half = count / 2
        let seconds = end[ranks - 1][count - 1] - end[ranks - 1][half]
        return Result(
            framesPerSecond: Double(costs.frames * (count - 1 - half)) / seconds,
            delay: end[ranks - 1][count - 1] - begin[0][count - 1 - rounds],
            hasOwnAutoencoders: ownAutoencoders
        )
    }

    private func hop(_ bytes: Double) -> Double { bytes / link.bandwidth + link.latency }

    /// The bytes that a stage sends to the next one in an iteration.
    private func bytes(after rank: Int, _ denoising: Range<Int>) -> Double {
        let isInside = denoising.contains(rank) && denoising.contains(rank + 1)
        guard layout == .blocks, isInside else { return costs.latentBytes }
        return Double(costs.steps) * (costs.hiddenBytes + costs.latentBytes)
    }
}
