import SwanMedia
import Testing

@testable import SwanPipelines

/// Where cuts are found, and how chunks are formed around them.
@Suite struct SceneFramesTests {
    private let draw = DrawnFootage()
    private let start = ContinuousClock.now

    /// A chunk by the numbers of its frames.
    private struct Chunk: Equatable {
        var frames: [Int]
        var isFirst: Bool
        var encoded: Int
    }

    private func chunks(
        _ frames: [VideoFrame],
        more: Int = 1,
        lookahead: Int = 0,
        findsCuts: Bool = true
    ) -> (chunks: [Chunk], cuts: Int) {
        var scenes = SceneFrames(more: more, lookahead: lookahead, findsCuts: findsCuts)
        var chunks: [Chunk] = []
        func note(_ chunk: ChunkFrames) {
            let numbers = chunk.captureTimes.map { Int((($0 - start) / .seconds(1)).rounded()) }
            chunks.append(
                Chunk(frames: numbers, isFirst: chunk.isFirst, encoded: chunk.frames.count)
            )
        }
        for (index, frame) in frames.enumerated() {
            let needed = scenes.needed(size: 4)
            #expect(needed >= 1)
            scenes.add(TimedFrame(frame, captureTime: start + .seconds(index)))
            let chunk = scenes.take(size: 4)
            if let chunk { note(chunk) } else { #expect(needed > 1 || scenes.needed(size: 4) > 0) }
        }
        while let chunk = scenes.take(size: 4, atEnd: true) { note(chunk) }
        #expect(chunks.flatMap(\.frames) == Array(frames.indices))
        #expect(scenes.left == 0)
        return (chunks, scenes.cuts)
    }

    /// The first frames of scenes after the first.
    private func cuts(_ frames: [VideoFrame], lookahead: Int = 0) -> [Int] {
        let (chunks, cuts) = chunks(frames, lookahead: lookahead)
        let firsts = chunks.dropFirst().filter(\.isFirst).compactMap(\.frames.first)
        #expect(cuts == firsts.count)
        return firsts
    }

    // MARK: - Cuts

    @Test(arguments: [1, 3, 4, 5, 6, 7, 8, 9, 18], [0, 3])
    func aCutBeginsAChunk(place: Int, lookahead: Int) throws {
        let frames = try (0..<22).map { try draw.texture($0 < place ? 1 : 4, right: Double($0)) }
        #expect(cuts(frames, lookahead: lookahead) == [place])
    }

    @Test func scenesOfManyKindsAreToldApart() throws {
        var scenes = try (0..<5).map { try draw.texture($0) }
        scenes += [try draw.stillLife(), try draw.plain(0), try draw.plain(230)]
        for (a, first) in scenes.enumerated() {
            for (b, second) in scenes.enumerated() where a != b {
                let frames = Array(repeating: first, count: 11) + Array(repeating: second, count: 9)
                #expect(cuts(frames) == [11], "scenes \(a) and \(b)")
            }
        }
    }

    @Test func cutsMayFollowEachOther() throws {
        let lengths = [7, 2, 3, 9, 4]
        var frames: [VideoFrame] = []
        for (scene, length) in lengths.enumerated() {
            frames += Array(repeating: try draw.texture(scene), count: length)
        }
        #expect(cuts(frames) == [7, 9, 12, 21])
    }

    /// As cameras and frame rate converters make them.
    @Test func aBlendedFrameBelongsToTheOldScene() throws {
        let (a, b) = (try draw.texture(1), try draw.texture(4))
        for place in 9...12 {
            var frames = Array(repeating: a, count: place) + Array(repeating: b, count: 10)
            frames[place - 1] = try draw.mixed(a, b, 0.5)
            #expect(cuts(frames) == [place], "blended frame \(place - 1)")
        }
    }

    @Test func aCutWhileMuchMovesIsFound() throws {
        let frames = try (0..<24).map {
            try draw.texture($0 < 14 ? 2 : 5, right: 3 * Double($0))
        }
        #expect(cuts(frames) == [14])
    }

    // MARK: - What is no cut

    @Test func motionIsNoCut() throws {
        let still = try draw.texture(2)
        #expect(cuts(Array(repeating: still, count: 12)) == [])
        // A pan that begins at once, of a tenth of the width a frame.
        #expect(
            cuts(try (0..<16).map { try draw.texture(2, right: 6.4 * Double(max(0, $0 - 5))) })
                == []
        )
        #expect(cuts(try (0..<16).map { try draw.texture(2, scale: 1 + 0.03 * Double($0)) }) == [])
        #expect(cuts(try (0..<16).map { try draw.ball(at: 4 * Double($0), over: still) }) == [])
        #expect(cuts(try (0..<16).map { try draw.noise($0) }) == [])
    }

    @Test(arguments: 6...10) func flashesAreNoCuts(place: Int) throws {
        let still = try draw.texture(2)
        var white = Array(repeating: still, count: 20)
        white[place] = try draw.plain(255)
        #expect(cuts(white) == [])
        var bright = Array(repeating: still, count: 20)
        for index in place..<place + 3 {
            bright[index] = try draw.mixed(still, still, 0, gain: 1.3, offset: 60)
        }
        #expect(cuts(bright) == [])
    }

    @Test func fadesAreNoCuts() throws {
        let (a, b, black) = (try draw.texture(1), try draw.texture(4), try draw.plain(0))
        func fade(_ a: VideoFrame, _ b: VideoFrame) throws -> [VideoFrame] {
            try (0..<10).map { try draw.mixed(a, b, Double($0) / 9) }
        }
        #expect(cuts(try fade(a, b) + fade(b, a)) == [])
        #expect(cuts(try fade(a, black) + fade(black, b)) == [])
    }

    // MARK: - Chunks

    @Test func chunksWithoutACutAreThoseOfTheReference() throws {
        let frames = try (0..<15).map { try draw.texture(2, right: Double($0)) }
        for findsCuts in [true, false] {
            let (chunks, cuts) = chunks(frames, findsCuts: findsCuts)
            #expect(chunks.map(\.frames.count) == [5, 4, 4, 2] && cuts == 0)
            #expect(chunks.map(\.encoded) == [5, 4, 4, 4])
            #expect(chunks.map(\.isFirst) == [true, false, false, false])
        }
        #expect(chunks(frames, more: 0).chunks.map(\.frames.count) == [4, 4, 4, 3])
        #expect(chunks(frames, lookahead: 3).chunks.map(\.encoded) == [8, 4, 4, 4])
    }

    @Test func aChunkBeforeACutIsPadded() throws {
        let frames = try (0..<16).map { try draw.texture($0 < 7 ? 1 : 4) }
        let expected = [
            Chunk(frames: [0, 1, 2, 3, 4], isFirst: true, encoded: 5),
            Chunk(frames: [5, 6], isFirst: false, encoded: 4),
            Chunk(frames: [7, 8, 9, 10, 11], isFirst: true, encoded: 5),
            Chunk(frames: [12, 13, 14, 15], isFirst: false, encoded: 4),
        ]
        #expect(chunks(frames).chunks == expected)
    }

    @Test func withoutDetectionCutsAreNotSeen() throws {
        let frames = try (0..<16).map { try draw.texture($0 < 7 ? 1 : 4) }
        let (chunks, cuts) = chunks(frames, findsCuts: false)
        #expect(cuts == 0 && chunks.map(\.frames.count) == [5, 4, 4, 3])
    }
}
