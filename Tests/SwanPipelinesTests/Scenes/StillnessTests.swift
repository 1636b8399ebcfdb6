import SwanMedia
import SwanSystem
import Testing
import Torch

@testable import SwanPipelines

/// What stands still in the input is quiet in the output, and nothing else is.
@Suite struct StillnessTests {
    private let draw = DrawnFootage()

    private func video(_ frames: [VideoFrame]) throws -> Tensor {
        try tensor(
            of: frames,
            height: draw.height,
            width: draw.width,
            fit: .crop,
            dtype: .float32,
            device: .cpu
        )
    }

    private func numbers(_ share: Tensor) throws -> [Float] { try share.contiguous().array() }

    @Test func stillPartsBecomeMeans() throws {
        var stillness = Stillness(frames: 8)
        let frames = Array(repeating: try draw.stillLife(), count: 12)
        let shares = try stillness.next(video(frames))
        for (index, share) in shares.enumerated() {
            let expected = 1 / Float(min(index + 1, 8))
            #expect(try numbers(share).allSatisfy { abs($0 - expected) < 1e-6 })
        }
        stillness.restart()
        #expect(
            try numbers(stillness.next(video(Array(frames.prefix(1))))[0]).allSatisfy { $0 == 1 }
        )
    }

    @Test func movingPartsFollowAtOnce() throws {
        var stillness = Stillness(frames: 16)
        let still = try draw.stillLife()
        var shares: [Tensor] = []
        for index in 0..<10 {
            shares += try stillness.next(
                video([draw.ball(at: 10 + 3 * Double(index), over: still)])
            )
        }
        let last = try numbers(shares[9])  // 8 x 8 blocks
        // The ball is at 37, in rows 24 to 40.
        for column in 3...5 { #expect(last[4 * 8 + column] == 1) }
        #expect(last[0] < 0.11)
    }

    @Test func aSlowChangeDoesNotStayBehind() throws {
        var stillness = Stillness(frames: 16)
        let still = try draw.texture(2)
        var lag = 0.0
        let shown = ShownFrames()
        for index in 0..<40 {
            let frame = try draw.mixed(still, still, 0, offset: 0.5 * Double(index))
            var mark = ChunkMark(captureTimes: [.now], completion: .now)
            mark.shares = try stillness.next(video([frame]))
            lag = max(lag, meanDifference(try shown([frame], mark)[0], frame))
        }
        #expect(lag < 2.5)
    }

    @Test func flickerIsAveraged() throws {
        var stillness = Stillness(frames: 16)
        let still = try draw.stillLife()
        let shown = ShownFrames()
        var frames: [VideoFrame] = []
        for index in 0..<24 {
            var mark = ChunkMark(captureTimes: [.now], completion: .now)
            mark.shares = try stillness.next(video([still]))
            let decoded = try draw.mixed(still, still, 0, offset: index.isMultiple(of: 2) ? 3 : -3)
            frames += try shown([decoded], mark)
        }
        let changes = zip(frames, frames.dropFirst()).map(meanDifference)
        #expect(changes[0] > 2.5)
        #expect(changes.suffix(12).allSatisfy { $0 < 0.5 })
        #expect(meanDifference(frames[23], still) < 0.6)
    }

    @Test func additionsAreNotShown() throws {
        let frames = try (0..<5).map { try draw.plain(Double(40 * $0)) }
        var mark = ChunkMark(captureTimes: [.now, .now], completion: .now)
        mark.leadFrames = 1
        let shown = try ShownFrames()(frames, mark)
        #expect(shown.map { $0.pixels[0] } == [40, 80])
    }

    @Test func blackBarsStayBlack() throws {
        var stillness = Stillness(frames: 16)
        let still = try draw.stillLife()
        let shown = ShownFrames()
        for _ in 0..<4 {
            var mark = ChunkMark(captureTimes: [.now], completion: .now)
            mark.shares = try stillness.next(video([still]))
            let framed = still.centered(width: 96, height: 64)
            #expect(try shown([framed], mark)[0].pixels == framed.pixels)
        }
    }
}
