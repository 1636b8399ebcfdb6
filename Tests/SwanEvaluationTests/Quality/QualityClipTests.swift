import Foundation
import GoldenSupport
import SwanMedia
import SwanPipelines
import SwanSystem
import Testing
import Torch

@testable import SwanEvaluation
@testable import SwanTiny
@testable import SwanTraining

@Suite struct QualityClipTests {
    @Test func loopsForwardAndBackward() {
        #expect((0..<9).map { QualityClip.swing($0, over: 4) } == [0, 1, 2, 3, 2, 1, 0, 1, 2])
        #expect((0..<3).map { QualityClip.swing($0, over: 1) } == [0, 0, 0])
        let far = (0..<100).map { QualityClip.swing($0, over: 7) }
        #expect(zip(far, far.dropFirst()).allSatisfy { abs($0 - $1) == 1 })
    }

    @Test(arguments: [(3_000, 250), (3_000, 120), (3_000, 132), (400, 250), (20, 9), (60, 2)])
    func firstAndLastTenthShowTheSameFrames(frames: Int, clip: Int) {
        let loop = DriftMeasure.loop(frames: frames, clip: clip)
        #expect((2...max(2, clip)).contains(loop))
        let tenth = frames / 10
        #expect(tenth % (2 * (loop - 1)) == 0)
        #expect(
            (0..<tenth).map { QualityClip.swing($0, over: loop) }
                == ((frames - tenth)..<frames).map { QualityClip.swing($0, over: loop) }
        )
    }

    @Test func readsAndResizesFrames() throws {
        let folder = try TemporaryDirectory()
        let path = folder.path("clip.mkv")
        let writer = try VideoWriter(path: path, width: 40, height: 20, frameRate: .one)
        for index in 0..<4 {
            try writer.append(
                VideoFrame(
                    width: 40,
                    height: 20,
                    pixels: (0..<800).flatMap { _ in [UInt8(200), UInt8(50 * index), 10] }
                )
            )
        }
        try writer.finish()
        let clip = try QualityClip(path, height: 16, width: 32, maxFrames: 3)
        #expect(clip.name == "clip.mkv")
        #expect(clip.pixels.shape == [3, 3, 16, 32])
        #expect(clip.count == 3)
        let frame = try clip.frame(2)
        #expect(frame.width == 32 && frame.height == 16)
        #expect(Array(frame.pixels[0..<3]) == [200, 100, 10])
        let error = #expect(throws: SwanError.self) {
            try QualityClip(path, height: 16, width: 32, maxFrames: 1)
        }
        #expect(error?.code == .invalidData)
    }

    @Test func takesTheStylesFromTheRecipe() throws {
        let folder = try TemporaryDirectory()
        let missing = #expect(throws: SwanError.self) {
            try TaughtStyles(of: folder.path(""), chosen: nil)
        }
        #expect(missing?.message.contains("--styles") == true)
        let named = try TaughtStyles(of: folder.path(""), chosen: ["neon", "none"])
        #expect(named.known == Style.bundled)
        #expect(named.chosen.map { named.known[$0] } == [.neon, .none])
        try TinyRecipe.text.write(
            toFile: folder.path("recipe.yaml"),
            atomically: true,
            encoding: .utf8
        )
        let taught = try TaughtStyles(of: folder.path(""), chosen: nil)
        #expect(taught.known == [.none, .sepia, .night])
        #expect(taught.chosen == [0, 1, 2])
        let unknown = #expect(throws: SwanError.self) {
            try TaughtStyles(of: folder.path(""), chosen: ["neon"])
        }
        #expect(unknown?.message.contains("none, sepia, night") == true)
    }

    @Test(arguments: Style.bundled) func promptsAskOnlyForTheStyle(style: Style) {
        let prompts = QualityPrompts.prompts(for: style)
        #expect(Set(prompts).count == 3)
        #expect(prompts[0] == (style.phrasings.first ?? "no change"))
        for prompt in prompts where !style.changesNothing {
            #expect(style.phrasings.contains { prompt.contains($0) })
        }
        for other in Style.bundled where other != style {
            for phrasing in other.phrasings {
                #expect(!prompts.contains { $0.contains(phrasing) }, "\(phrasing)")
            }
        }
    }

    @Test func spreadsPromptsOverTheStream() {
        #expect(QualityPrompts.spread(["a", "b", "c"], over: 120) == [0: "a", 40: "b", 80: "c"])
    }
}
