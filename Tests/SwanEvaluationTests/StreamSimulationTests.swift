import Testing

@testable import SwanEvaluation

/// What the simulation of pipelines says where the answer is known.
@Suite struct StreamSimulationTests {
    private let free = StreamSimulation.Link("free", bandwidth: .infinity, latency: 0)

    private func costs(
        block: Double = 0.1,
        encode: Double = 0,
        decode: Double = 0,
        blocks: Int = 8,
        steps: Int = 2
    ) -> StreamSimulation.Costs {
        .init(
            block: block,
            encode: encode,
            decode: decode,
            blocks: blocks,
            steps: steps,
            hiddenBytes: 1_000,
            latentBytes: 10
        )
    }

    private func isClose(_ a: Double, _ b: Double) -> Bool { abs(a - b) < 1e-9 * max(1, abs(b)) }

    /// Without transport, N ranks are N times as fast; the first chunk's delay stays S rounds of all blocks.
    @Test(arguments: [1, 2, 4, 8], StreamSimulation.Layout.allCases)
    func balancedRanks(ranks: Int, layout: StreamSimulation.Layout) throws {
        let steps = 8
        let simulation = StreamSimulation(costs(steps: steps), layout, free)
        let result = try #require(simulation.result(ranks: ranks))
        #expect(isClose(result.framesPerSecond, 4 / 0.8 * Double(ranks)))
        let whole = 0.8 * Double(steps)
        #expect(isClose(result.delay, layout == .blocks ? whole : 0.8))
    }

    @Test func autoencodersGetFewerBlocks() throws {
        // 8 blocks of 0.1 s, encoding 0.2, decoding 0.4: 1.4 s of work on two ranks.
        let costs = costs(encode: 0.2, decode: 0.4)
        let result = try #require(StreamSimulation(costs, .blocks, free).result(ranks: 2))
        #expect(isClose(result.framesPerSecond, 4 / 0.7))
    }

    /// Decoding cannot be divided, so more ranks do not help; but it can have a rank of its own.
    @Test func theDecoderBinds() throws {
        let costs = costs(encode: 0.1, decode: 0.5)
        let simulation = StreamSimulation(costs, .blocks, free)
        for ranks in [4, 6, 8] {
            let result = try #require(simulation.result(ranks: ranks))
            #expect(isClose(result.framesPerSecond, 4 / 0.5))
            #expect(result.hasOwnAutoencoders)
        }
    }

    @Test func moreRanksThanWork() {
        #expect(StreamSimulation(costs(), .blocks, free).result(ranks: 11) == nil)
        #expect(StreamSimulation(costs(), .blocks, free).result(ranks: 10) != nil)
        #expect(StreamSimulation(costs(), .steps, free).result(ranks: 5) == nil)
        #expect(StreamSimulation(costs(), .steps, free).result(ranks: 4) != nil)
    }

    /// A link that takes longer than computing decides the rate: two rows of 1,010 bytes an iteration.
    @Test func slowLinksBind() throws {
        let slow = StreamSimulation.Link("slow", bandwidth: 1_010, latency: 0)
        let result = try #require(StreamSimulation(costs(), .blocks, slow).result(ranks: 2))
        // The ring, too: a chunk comes back after both ranks and both ways.
        #expect(result.framesPerSecond <= 4 / 2.0)
        #expect(result.framesPerSecond > 4 / 3.0)
        let steps = try #require(StreamSimulation(costs(), .steps, slow).result(ranks: 2))
        #expect(isClose(steps.framesPerSecond, 4 / 0.4))
    }
}
