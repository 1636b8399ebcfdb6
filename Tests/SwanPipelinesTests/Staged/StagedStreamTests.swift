import SwanDistributed
import SwanMedia
import SwanSystem
import Testing

@testable import SwanPipelines

/// Streams that several ranks run, against one rank: the latents must be the same bits.
@Suite(.serialized) struct StagedStreamTests {
    private typealias Script = StagedFixture.Script

    private func expectSame(
        _ frames: [VideoFrame],
        _ expected: [VideoFrame],
        _ what: Comment
    ) {
        #expect(frames.count == expected.count, what)
        let first = zip(frames, expected).enumerated().first { $1.0.pixels != $1.1.pixels }
        #expect(first == nil, "\(what): frame \(first?.offset ?? 0) differs")
    }

    @Test(.timeLimit(.minutes(2)), arguments: [1, 2, 3, 4])
    func blocksGiveTheFramesOfOneRank(steps: Int) throws {
        let fixture = try StagedFixture()
        var script = Script()
        script.steps = steps
        let expected = try fixture.alone(script)
        #expect(expected.count == script.frameCount)
        for ranks in [1, 2, 3, 4] {
            let frames = try fixture.together(ranks, script)
            expectSame(frames, expected, "\(steps) steps, \(ranks) ranks")
        }
    }

    @Test(.timeLimit(.minutes(2)), arguments: [1, 2, 3, 4])
    func stepsGiveTheFramesOfOneRank(steps: Int) throws {
        let fixture = try StagedFixture()
        var script = Script()
        script.steps = steps
        let expected = try fixture.alone(script)
        var layout = StagedOptions()
        layout.layout = .steps
        for ranks in 1...steps {
            let frames = try fixture.together(ranks, script, layout)
            expectSame(frames, expected, "\(steps) steps, \(ranks) ranks")
        }
    }
}
