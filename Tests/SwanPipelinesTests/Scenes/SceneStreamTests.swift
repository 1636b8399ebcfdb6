import Foundation
import GoldenSupport
import ModelSupport
import SwanCheckpoints
import SwanMedia
import Testing
import Torch

@testable import SwanPipelines

/// Streams with cuts and of still inputs: nothing of an old scene is left, nothing flashes or shimmers.
@Suite struct SceneStreamTests {
    private let draw = DrawnFootage(width: 32, height: 32)

    private func scenes() throws -> (VideoFrame, VideoFrame) {
        (try draw.texture(1), try draw.texture(4))
    }

    private func frames(_ lengths: [Int]) throws -> [VideoFrame] {
        let (a, b) = try scenes()
        return lengths.enumerated().flatMap { index, length in
            Array(repeating: index.isMultiple(of: 2) ? a : b, count: length)
        }
    }

    private func stream(
        _ change: (inout StreamOptions) -> Void = { _ in }
    ) throws -> VideoStream {
        let folder = try TemporaryDirectory()
        try TinyModel.write(to: folder.url.path)
        let model = try StreamModel.load(folder.url.path, dtype: .float32, device: .cpu)
        var options = StreamOptions(model.configuration, height: 32, width: 32)
        // Equal noise for every chunk, so that a scene does not depend on its place.
        options.configuration.noise = .fixed
        change(&options)
        return try VideoStream(model, prompt: "a pencil sketch", options: options)
    }

    private func run(_ stream: VideoStream, _ clip: [VideoFrame]) throws -> [VideoFrame] {
        var out: [VideoFrame] = []
        for frame in clip { out += try stream.push(frame) }
        return try out + stream.finish()
    }

    /// A scene after a cut is what it would be at the beginning of a stream.
    @Test(arguments: [9, 10, 11, 12], [true, false])
    func aSceneHasNoPast(place: Int, streamBatch: Bool) throws {
        for repeats in [false, true] {
            let change: (inout StreamOptions) -> Void = {
                $0.settings.streamBatch = streamBatch
                $0.configuration.repeatsFirstFrame = repeats
                $0.configuration.stillFrames = repeats ? 8 : nil
            }
            let stream = try self.stream(change)
            let whole = try run(stream, frames([place, 14]))
            let alone = try run(self.stream(change), Array(frames([place, 14])[place...]))
            #expect(whole.count == place + 14 && stream.encoding.cuts == 1)
            #expect(whole[place...].map(\.pixels) == alone.map(\.pixels))
        }
    }

    @Test func longChunksMayFollowACut() throws {
        let stream = try self.stream {
            ($0.configuration.cacheFrames, $0.configuration.sinkFrames) = (6, 1)
            $0.settings.targetFPS = 1e9
        }
        #expect(try run(stream, frames([40, 30, 3, 35])).count == 108)
        #expect(stream.encoding.cuts == 3)
    }

    @Test func withoutCutsNothingChanges() throws {
        let clip = try (0..<22).map { try draw.texture(2, right: Double($0)) }
        let found = try run(stream(), clip)
        let off = try run(stream { $0.settings.cuts = .off }, clip)
        #expect(found.map(\.pixels) == off.map(\.pixels))
        let cut = try stream { $0.settings.cuts = .off }
        #expect(try run(cut, frames([9, 9])).count == 18 && cut.encoding.cuts == 0)
    }

    @Test func noiseOfEveryKind() throws {
        let clip = try (0..<9).map { try draw.texture(2, right: Double($0)) }
        var videos: [[[UInt8]]] = []
        for kind in StreamConfiguration.Noise.allCases {
            for seed in [1, 2] as [UInt64] {
                let stream = try self.stream {
                    ($0.configuration.noise, $0.settings.seed) = (kind, seed)
                }
                videos.append(try run(stream, clip).map(\.pixels))
            }
        }
        // fresh, fixed, none: only the last does not depend on the seed.
        #expect(videos[0] != videos[1] && videos[2] != videos[3] && videos[4] == videos[5])
        #expect(videos[0] != videos[2] && videos[2] != videos[4])
        // The first chunk's noise is the fixed one.
        #expect(Array(videos[0].prefix(5)) == Array(videos[2].prefix(5)))
    }

    /// Streams of a server form chunks as files do.
    @Test(.timeLimit(.minutes(10)), arguments: [true, false])
    func sharedStreamsHaveTheSameScenes(streamBatch: Bool) async throws {
        let fixture = try SharedFixture()
        var script = SharedFixture.Script(prompt: "a pencil sketch", streamBatch: streamBatch)
        (script.height, script.seed) = (48, 3)
        let draw = DrawnFootage(width: 64, height: 48)
        let lengths = [7, 6, 9]
        let clip = try lengths.enumerated().flatMap { scene, length in
            Array(repeating: try draw.texture(scene), count: length)
        }
        let expected = try fixture.alone(script, clip)
        let host = try SharedStreams(fixture.model)
        defer { host.close() }
        let collector = Collector()
        let stream = try fixture.join(host, script, collector)
        for (index, frame) in clip.enumerated() {
            try await fixture.wait(for: stream, of: host)
            stream.put(SharedFrame(sequence: UInt32(index)) { frame })
        }
        try await fixture.wait(for: stream, of: host)
        stream.finish()
        try await collector.waitForEnd()
        #expect(collector.frames.map(\.sequence) == (0..<22).map { UInt32($0) })
        fixture.expectSame(collector.frames.map(\.frame), expected, "batch: \(streamBatch)")
    }
}

/// The bundled model at hard places.
@Suite struct BundledSceneTests {
    private let draw = DrawnFootage(width: 96, height: 96)

    private func restyle(
        _ clip: [VideoFrame],
        _ prompt: String,
        _ change: (inout StreamOptions) -> Void = { _ in }
    ) throws -> [VideoFrame] {
        let model = try StreamModel.load("tiny", dtype: .float32, device: .cpu)
        var options = StreamOptions(model.configuration, height: 96, width: 96)
        change(&options)
        let stream = try VideoStream(model, prompt: prompt, options: options)
        var out: [VideoFrame] = []
        for frame in clip { out += try stream.push(frame) }
        return try out + stream.finish()
    }

    private func decibels(_ a: VideoFrame, _ b: VideoFrame) -> Double {
        let squares = zip(a.pixels, b.pixels).map { pow(Double($0) - Double($1), 2) }
        return 10 * log10(65_025 * Double(squares.count) / max(1, squares.reduce(0, +)))
    }

    @Test(
        .timeLimit(.minutes(10)),
        arguments: [
            "original", "sketch", "neon", "thermal", "night", "sepia", "comic", "pixel art",
            "autumn",
        ]
    )
    func aStillInputStandsStill(look: String) throws {
        let out = try restyle(Array(repeating: draw.stillLife(), count: 20), look)
        let changes = zip(out, out.dropFirst()).map(meanDifference)
        // From the third chunk on.
        #expect(changes.dropFirst(8).allSatisfy { $0 < 0.5 }, "\(look): \(changes)")
        func mean(_ frame: VideoFrame) -> Double {
            Double(frame.pixels.reduce(0) { $0 + Int($1) }) / Double(frame.pixels.count)
        }
        let shift = abs(mean(out[0]) - mean(out[19]))
        #expect(shift < 4, "\(look): the first frame is \(shift) levels off")
    }

    @Test(.timeLimit(.minutes(10)), arguments: 10...13)
    func nothingOfTheOldSceneIsSeen(place: Int) throws {
        let clip = try (0..<24).map { try draw.texture($0 < place ? 1 : 4, right: Double($0)) }
        let out = try restyle(clip, "original")
        let quality = zip(out, clip).map(decibels)
        let later = quality.suffix(6).reduce(0, +) / 6
        #expect(quality[place - 1...place + 1].allSatisfy { $0 > later - 8 }, "\(quality)")
    }

    /// What moves does not leave a trace where the background stands still.
    @Test(.timeLimit(.minutes(10))) func nothingSticksToTheBackground() throws {
        let still = try draw.stillLife()
        let clip = try (0..<20).map { try draw.ball(at: 10 + 4 * Double($0), over: still) }
        let quiet = zip(try restyle(clip, "original"), clip).map(decibels).dropFirst(4)
        let plain = zip(try restyle(clip, "original") { $0.configuration.stillFrames = nil }, clip)
            .map(decibels).dropFirst(4)
        for (quiet, plain) in zip(quiet, plain) { #expect(quiet > plain - 0.2) }
    }
}
