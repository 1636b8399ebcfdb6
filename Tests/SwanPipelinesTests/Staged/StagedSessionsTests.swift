import Foundation
import SwanCheckpoints
import SwanDistributed
import SwanMedia
import SwanModels
import SwanSystem
import Synchronization
import Testing
import Torch

@testable import SwanPipelines

/// Sessions of a server that ranks run, against one process: the latents must be the same bits.
@Suite(.serialized) struct StagedSessionsTests {
    /// What a session gets: before each chunk a change, if there is one.
    private struct Script {
        var changes: [Int: StreamChange] = [:]
        var chunks = 36

        /// Changes of all kinds at random.
        init(seed: UInt64) {
            var random = SplitMix(state: seed)
            for chunk in 1..<chunks where random.next(3) == 0 {
                var change = StreamChange()
                change.event = UInt32(chunk)
                switch random.next(6) {
                case 0: change.steps = 1 + random.next(4)
                case 1: change.mode = random.next(2) == 0 ? .steps : .batch
                case 2: change.seed = UInt64(random.next(1_000))
                case 3: change.prompts = [.init("neon edges", weight: 1), .init("cats", weight: 2)]
                case 4: (change.prompts, change.transition) = ([.init("a city")], 3)
                default: (change.noiseScale, change.resets) = (0.4, random.next(2) == 0)
                }
                changes[chunk] = change
            }
        }
    }

    private let fixture: StagedFixture
    private let model: StreamModel

    init() throws {
        fixture = try StagedFixture()
        var configuration = fixture.model.configuration
        configuration.steps = [700, 500, 300, 100]
        configuration.cacheFrames = 6
        configuration.sinkFrames = 2
        let own = fixture.model
        model = StreamModel(
            name: "staged",
            StreamModel.Networks(
                transformer: own.transformer,
                vae: own.vae,
                textEncoder: own.textEncoder,
                tokenizer: own.tokenizer
            ),
            configuration: configuration
        )
    }

    /// The frames of sessions one after the other, by scripts.
    private func run(_ scripts: [Script], on host: SharedStreams) throws -> [[RestyledFrame]] {
        defer { host.close() }
        return try scripts.map { script in
            var request = SharedStreamRequest(
                prompts: [.init("cats")],
                options: StreamOptions(model.configuration, height: 32, width: 32),
                framesPerSecond: 1
            )
            request.dropsFrames = false
            let collector = Collector()
            let stream = try host.join(request, report: collector.add).stream
            var frame = 0
            for chunk in 0..<script.chunks {
                try wait { host.isIdle(stream) }
                let change = script.changes[chunk]
                if let change { stream.change(change) }
                try wait { host.isIdle(stream) }
                for _ in 0..<(chunk == 0 || change?.resets == true ? 5 : 4) {
                    let picture = try StagedFixture.picture(frame)
                    stream.put(SharedFrame(sequence: UInt32(frame)) { picture })
                    frame += 1
                }
            }
            stream.finish()
            try wait { host.count == 0 }
            #expect(collector.frames.count == frame)
            #expect(Set(collector.frames.map(\.frame.pixels)).count > script.chunks)
            return collector.frames
        }
    }

    /// Waits for what a session does within seconds.
    private func wait(for condition: () -> Bool) throws {
        let end = ContinuousClock.now + .seconds(60)
        while !condition() {
            guard ContinuousClock.now < end else {
                throw SwanError(.peerFailed, "the session stands still")
            }
            usleep(500)
        }
    }

    private func expectSame(_ frames: [RestyledFrame], _ expected: [RestyledFrame], _ what: Comment)
    {
        #expect(frames.map(\.sequence) == expected.map(\.sequence), what)
        let first = zip(frames, expected).first { $0.frame.pixels != $1.frame.pixels }
        #expect(first == nil, "\(what): frame \(first?.0.sequence ?? 0) differs")
    }

    @Test(.timeLimit(.minutes(5)), arguments: [2, 3, 4])
    func sessionsGiveTheFramesOfOneProcess(ranks: Int) throws {
        let scripts = [Script(seed: UInt64(ranks)), Script(seed: UInt64(10 + ranks))]
        let expected = try ComputeBudget(threads: 1).run {
            try run(scripts, on: SharedStreams(model))
        }
        let results = try ThreadRanks.run(ranks) { world in
            let sessions = try join(world)
            guard world.rank == 0, let own = sessions.model else {
                try sessions.serve()
                return [[RestyledFrame]]()
            }
            return try run(scripts, on: SharedStreams(own, over: sessions))
        }
        let frames = try results.map { try $0.get() }[0]
        for (index, (frames, expected)) in zip(frames, expected).enumerated() {
            expectSame(frames, expected, "\(ranks) ranks, session \(index)")
        }
    }

    private func join(_ world: World) throws -> StagedSessions {
        var layout = StagedOptions()
        layout.schedulesBlocks = world.size == 3
        let ranks = try StagedRanks(world, layout)
        let sizes = StagedSizes(
            config: model.transformer.config,
            strides: (8, 4),
            dtype: .float32,
            device: .cpu
        )
        return try StagedSessions(ranks, model.configuration, sizes) {
            try StagedParts(model, ranks.roles, layout, rank: world.rank) {
                blocks throws(SwanError) in try fixture.load(blocks)
            }
        }
    }

    @Test(.timeLimit(.minutes(2))) func otherLayoutsAreRefused() throws {
        let results = try ThreadRanks.run(2) { world in
            var layout = StagedOptions()
            layout.layout = .steps
            let sizes = StagedSizes(
                config: model.transformer.config,
                strides: (8, 4),
                dtype: .float32,
                device: .cpu
            )
            let ranks = try StagedRanks(world, layout)
            _ = try StagedSessions(ranks, model.configuration, sizes) {
                throw SwanError(.invalidArgument, "nothing is loaded")
            }
        }
        for result in results {
            let error = #expect(throws: SwanError.self) { try result.get() }
            #expect(error?.message.contains("--layout blocks") == true)
        }
    }
}

/// Random numbers by Steele, Lea and Flood's SplitMix64.
private struct SplitMix {
    var state: UInt64

    mutating func next(_ count: Int) -> Int {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return Int((z ^ (z >> 31)) % UInt64(count))
    }
}
