import Foundation
import SwanDistributed
import SwanMedia
import SwanSystem
import Synchronization
import Testing

@testable import SwanPipelines

/// Streams that several ranks run, against one rank: the latents must be the same bits.
@Suite(.serialized) struct StagedStreamTests {
    typealias Script = StagedFixture.Script

    private func expectSame(
        _ frames: [VideoFrame],
        _ expected: [VideoFrame],
        _ what: Comment
    ) {
        #expect(frames.count == expected.count, what)
        let first = zip(frames, expected).enumerated().first { $1.0.pixels != $1.1.pixels }
        #expect(first == nil, "\(what): frame \(first?.offset ?? 0) differs")
    }

    @Test(.timeLimit(.minutes(10)), arguments: [1, 2, 3, 4])
    func blocksGiveTheFramesOfOneRank(steps: Int) throws {
        let fixture = try StagedFixture()
        var script = Script()
        script.steps = steps
        let expected = try fixture.alone(script)
        #expect(expected.count == script.frameCount)
        // What follows would hold for frames that show nothing, too.
        #expect(Set(expected.map(\.pixels)).count > script.chunks)
        for ranks in [2, 3, 4] {
            let frames = try fixture.together(ranks, script)
            expectSame(frames, expected, "\(steps) steps, \(ranks) ranks")
        }
    }

    @Test(.timeLimit(.minutes(10)), arguments: [1, 2, 3, 4])
    func stepsGiveTheFramesOfOneRank(steps: Int) throws {
        let fixture = try StagedFixture()
        var script = Script()
        script.steps = steps
        let expected = try fixture.alone(script)
        var layout = StagedOptions()
        layout.layout = .steps
        for ranks in 2...max(2, steps) where ranks <= steps {
            let frames = try fixture.together(ranks, script, layout)
            expectSame(frames, expected, "\(steps) steps, \(ranks) ranks")
        }
    }

    @Test(.timeLimit(.minutes(10))) func eightRanksWithABlockEach() throws {
        let fixture = try StagedFixture()
        var script = Script()
        script.chunks = 30
        let expected = try fixture.alone(script)
        expectSame(try fixture.together(8, script), expected, "8 ranks")
    }

    /// Cuts that leave a chunk of every length.
    @Test(.timeLimit(.minutes(10)), arguments: [true, false])
    func allRanksForgetTheOldScene(streamBatch: Bool) throws {
        let fixture = try StagedFixture()
        for steps in [1, 2, 3] {
            var script = Script(chunks: 16)
            (script.steps, script.sceneLength, script.streamBatch) = (steps, 15, streamBatch)
            let expected = try fixture.alone(script)
            #expect(expected.count == script.frameCount)
            let frames = try fixture.together(3, script)
            expectSame(frames, expected, "\(steps) steps by blocks")
            guard streamBatch, steps > 1 else { continue }
            var layout = StagedOptions()
            layout.layout = .steps
            expectSame(
                try fixture.together(steps, script, layout),
                expected,
                "\(steps) steps by steps"
            )
        }
    }

    /// Rows of pictures, of which some ranks have more than others, or which are fewer than ranks. Values
    /// near a half may be rounded to either side.
    @Test(.timeLimit(.minutes(5)), arguments: [(32, 2), (80, 2), (80, 3), (48, 3), (16, 3)])
    func ranksDecodeRowsOfThePicture(height: Int, decoders: Int) throws {
        let fixture = try StagedFixture(codes: true)
        var script = Script(chunks: 6, moreFrames: 2)
        script.height = height
        let expected = try fixture.alone(script)
        var layout = StagedOptions()
        layout.decodeRanks = decoders
        let frames = try fixture.together(decoders + 1, script, layout)
        #expect(frames.count == expected.count)
        #expect(Set(expected.map(\.pixels)).count > script.chunks)
        let pairs = zip(frames.flatMap(\.pixels), expected.flatMap(\.pixels))
        let differences = pairs.map { abs(Int($0) - Int($1)) }.filter { $0 > 0 }
        #expect(differences.allSatisfy { $0 == 1 })
        #expect(differences.count < expected.count)
    }

    /// Short caches, sinks that are refreshed, long chunks, steps one after the other, padding.
    static let variants = [
        Script(steps: 3, chunks: 12, cacheFrames: 2, sinkFrames: 0),
        Script(steps: 3, chunks: 12, sinkFrames: 3, sinkThreshold: 0.999),
        Script(chunks: 12, cacheFrames: 9, framesPerBlock: 3),
        Script(chunks: 12, streamBatch: false),
        Script(chunks: 12, streamBatch: false, followsMotion: false),
        Script(chunks: 12, moreFrames: 3, followsMotion: false),
    ]

    @Test(.timeLimit(.minutes(10)), arguments: StagedStreamTests.variants)
    func variantsOfStreams(script: Script) throws {
        let fixture = try StagedFixture()
        let expected = try fixture.alone(script)
        expectSame(try fixture.together(3, script), expected, "blocks: \(script)")
        guard script.streamBatch else { return }
        var layout = StagedOptions()
        layout.layout = .steps
        expectSame(try fixture.together(2, script, layout), expected, "steps: \(script)")
    }

    /// Streams that end before the pipeline is full.
    @Test(.timeLimit(.minutes(10)), arguments: [0, 1, 2, 3])
    func shortStreams(chunks: Int) throws {
        let fixture = try StagedFixture()
        var script = Script()
        (script.chunks, script.steps, script.moreFrames) = (chunks, 3, 2)
        let expected = try fixture.alone(script)
        #expect(expected.count == script.frameCount)
        expectSame(try fixture.together(3, script), expected, "blocks, \(chunks) chunks")
        var layout = StagedOptions()
        layout.layout = .steps
        expectSame(try fixture.together(3, script, layout), expected, "steps, \(chunks) chunks")
    }

    /// When is a matter of time, so the frames are counted, not compared.
    @Test(.timeLimit(.minutes(10)), arguments: StagedOptions.Layout.allCases)
    func chunksGrowToReachTheTargetRate(layout: StagedOptions.Layout) throws {
        let fixture = try StagedFixture()
        var script = Script(steps: 3, cacheFrames: 6, sinkFrames: 1, moreFrames: 2)
        script.targetFPS = 1e9
        var options = StagedOptions()
        options.layout = layout
        let sizes = Mutex<[Int]>([0])
        let results = try ThreadRanks.run(3) { [script, options] world in
            try fixture.part(
                world,
                script,
                options,
                delivered: { count in
                    sizes.withLock { $0.append(count) }
                }
            ).count
        }
        #expect(try results[0].get() == script.frameCount)
        let counts = sizes.withLock { $0 }
        #expect(zip(counts.dropFirst(), counts).contains { $0 - $1 == 16 }, "\(counts)")
    }

    @Test(.timeLimit(.minutes(10)), arguments: [(true, false), (false, true), (true, true)])
    func ranksOfTheirOwnForTheAutoencoder(encoder: Bool, decoder: Bool) throws {
        let fixture = try StagedFixture()
        let expected = try fixture.alone(Script())
        for kind in StagedOptions.Layout.allCases {
            var layout = StagedOptions()
            layout.layout = kind
            (layout.hasEncodeRank, layout.hasDecodeRank) = (encoder, decoder)
            let ranks = 2 + (encoder ? 1 : 0) + (decoder ? 1 : 0)
            let frames = try fixture.together(ranks, Script(), layout)
            expectSame(frames, expected, "\(kind), \(layout)")
        }
    }

    // MARK: - Moving blocks

    /// Blocks move every five chunks, down and up, by one or many, with their caches.
    @Test(.timeLimit(.minutes(10)), arguments: [2, 3, 4], [1.0, -1.0])
    func movedBlocksChangeNothing(ranks: Int, sign: Double) throws {
        let fixture = try StagedFixture()
        var script = Script()
        // A refreshed sink is known on the device alone, and travels with its cache.
        (script.steps, script.sinkFrames) = (3, 2)
        script.sinkThreshold = sign > 0 ? 0.999 : -1
        let expected = try fixture.alone(script)
        let maps = [
            2: [[4, 4], [1, 7], [7, 1], [5, 3]],
            3: [[3, 3, 2], [1, 1, 6], [6, 1, 1], [2, 4, 2]],
            4: [[2, 2, 2, 2], [1, 1, 1, 5], [5, 1, 1, 1], [1, 3, 3, 1]],
        ][ranks]
        let epochs = Mutex(0)
        var trial = StagedStream.Trial()
        trial.choice = { _, map, iteration throws(SwanError) in
            guard let maps, iteration > 0, iteration % 5 == 0 else { return nil }
            let counts = maps[(map.epoch + 1) % maps.count]
            epochs.withLock { $0 = map.epoch + 1 }
            return try BlockMap(counts: counts, epoch: map.epoch + 1)
        }
        let frames = try fixture.together(ranks, script, trial: trial)
        expectSame(frames, expected, "\(ranks) ranks")
        #expect(epochs.withLock { $0 } >= 8)
    }

    /// A rank that becomes three times slower has fewer blocks ten chunks later.
    @Test(.timeLimit(.minutes(10)), arguments: [2, 4])
    func aStragglerIsFound(ranks: Int) throws {
        let fixture = try StagedFixture()
        let script = Script()
        let expected = try fixture.alone(script)
        let forwards = Mutex(0)
        let found = Mutex<(iteration: Int, counts: [Int])?>(nil)
        var layout = StagedOptions()
        layout.schedulesBlocks = true
        var trial = StagedStream.Trial()
        trial.injection = { place, blocks, seconds in
            // The real times are used only to know whether there are any.
            let isSlow = place == 1 && forwards.withLock { $0 } > 15
            return seconds.isNaN ? seconds : Double(blocks) * (isSlow ? 3 : 1)
        }
        trial.choice = { costs, map, iteration throws(SwanError) in
            forwards.withLock { $0 = iteration }
            var costs = costs
            costs?.fixed = map.counts.map { _ in 0 }
            let next = try costs?.balanced(map)
            if let next { found.withLock { $0 = $0 ?? (iteration, next.counts) } }
            return next
        }
        let frames = try fixture.together(ranks, script, layout, trial: trial)
        expectSame(frames, expected, "\(ranks) ranks")
        let first = try #require(found.withLock { $0 })
        #expect(first.iteration > 15 && first.iteration <= 25, "\(first)")
        #expect(first.counts[1] < 8 / ranks, "\(first)")
    }

    // MARK: - Failures and limits

    /// All ranks end with the reason of the one that failed; what was decoded was delivered.
    @Test(.timeLimit(.minutes(10)), arguments: [0, 1, 2])
    func aRankThatFailsEndsAll(victim: Int) throws {
        let fixture = try StagedFixture()
        var script = Script()
        script.chunks = 2_000
        let delivered = Mutex(0)
        let results = try ThreadRanks.run(3) { [script] world in
            try fixture.part(
                world,
                script,
                joined: { staged in
                    guard world.rank == victim else { return }
                    try staged.startThread("test.failing") {
                        while delivered.withLock({ $0 }) < 30 { usleep(1_000) }
                        throw SwanError(.invalidData, "broken")
                    }
                },
                delivered: { count in delivered.withLock { $0 = count } }
            ).count
        }
        for (rank, result) in results.enumerated() {
            let error = #expect(throws: SwanError.self) { try result.get() }
            let message = error?.message ?? ""
            #expect(message.contains("broken"), "rank \(rank): \(message)")
            #expect((error?.code == .peerFailed) == (rank != victim), "rank \(rank): \(message)")
        }
        #expect(delivered.withLock { $0 } < script.frameCount)
    }

    /// Weights of blocks that other ranks run are not read, not even when blocks move.
    @Test(.timeLimit(.minutes(10))) func ranksLoadTheirBlocksAlone() throws {
        let fixture = try StagedFixture()
        var script = Script()
        script.chunks = 12
        var trial = StagedStream.Trial()
        trial.choice = { _, map, iteration throws(SwanError) in
            iteration == 8 ? try BlockMap(counts: [3, 5], epoch: map.epoch + 1) : nil
        }
        let results = try ThreadRanks.run(2) { [script, trial] world in
            let loaded = Mutex<[Range<Int>]>([])
            _ = try fixture.part(
                world,
                script,
                trial: trial,
                loading: { blocks in loaded.withLock { $0.append(blocks) } }
            )
            return loaded.withLock { $0 }
        }
        #expect(try results.map { try $0.get() } == [[0..<4], [4..<8, 3..<4]])
    }

    @Test func impossibleDivisionsAreRefused() throws {
        var options = StagedOptions()
        (options.hasEncodeRank, options.hasDecodeRank) = (true, true)
        #expect(throws: SwanError.self) { try StagedRoles(options, size: 2) }
        #expect(try StagedRoles(options, size: 3).stages == 1..<2)
        (options.layout, options.schedulesBlocks) = (.steps, true)
        #expect(throws: SwanError.self) { try StagedRoles(options, size: 4) }
        #expect(throws: SwanError.self) { try BlockMap(blocks: 2, ranks: 3) }
    }
}
